#!/usr/bin/env python3
"""The same question to other programs that decide access: may this user use that resource? Whole processes, in turns.

Each of them knows 1,000 permissions and is asked one that it has and one that it has not. As root, because of sudo's file:

    python3 -m venv /tmp/others && /tmp/others/bin/pip install casbin cedarpy regopy
    cargo build --release --bin access --example fill
    /tmp/others/bin/python benches/others.py
"""

import json
import os
import pathlib
import pwd
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ACCESS, FILL = ROOT / "target/release/access", ROOT / "target/release/examples/fill"
TURNS = 40
NOBODY = pwd.getpwnam("nobody")

CASBIN_MODEL = """\
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && r.obj == p.obj && r.act == p.act
"""
CASBIN = """\
import sys, casbin
sys.exit(not casbin.Enforcer("model.conf", "policy.csv").enforce(sys.argv[1], sys.argv[2], "use"))
"""
CEDAR_POLICY = 'permit (principal, action == Action::"use", resource) when { principal.uses.contains(resource) };\n'
CEDAR = """\
import sys, cedarpy
asked = {"principal": f'User::"{sys.argv[1]}"', "action": 'Action::"use"', "resource": f'Connection::"{sys.argv[2]}"'}
answer = cedarpy.is_authorized(asked, open("policy.cedar").read(), open("entities.json").read())
sys.exit(answer.decision != cedarpy.Decision.Allow)
"""
REGO_POLICY = "package access\ndefault allow = false\nallow { data.grants[input.user][_] == input.resource }\n"
REGO = """\
import json, sys, regopy
rego = regopy.Interpreter()
rego.add_module("access", open("policy.rego").read())
rego.add_data_json(open("grants.json").read())
rego.set_input(regopy.Input({"user": sys.argv[1], "resource": sys.argv[2]}))
sys.exit(json.loads(str(rego.query("data.access.allow"))) != {"expressions": [True]})
"""


def prepare(folder):
    grants = {f"m{n}": [f"c{n}"] for n in range(999)} | {"nobody": ["c7"]}
    (folder / "model.conf").write_text(CASBIN_MODEL)
    (folder / "policy.csv").write_text("".join(f"p, {who}, {what}, use\n" for who, held in grants.items() for what in held))
    (folder / "policy.cedar").write_text(CEDAR_POLICY)
    uses = lambda held: [{"__entity": {"type": "Connection", "id": it}} for it in held]
    entities = [{"uid": {"type": "User", "id": who}, "attrs": {"uses": uses(held)}, "parents": []} for who, held in grants.items()]
    (folder / "entities.json").write_text(json.dumps(entities))
    (folder / "policy.rego").write_text(REGO_POLICY)
    (folder / "grants.json").write_text(json.dumps({"grants": grants}))
    for name, text in [("casbin", CASBIN), ("cedar", CEDAR), ("rego", REGO)]:
        (folder / f"ask_{name}.py").write_text(text)
    lines = "".join(f"{who} ALL = (root) NOPASSWD: /usr/bin/env {what}\n" for who, held in grants.items() for what in held)
    (folder / "sudoers").write_text(lines)
    (folder / "sudoers").chmod(0o440)
    subprocess.run([FILL, "create", folder / "access.db", "root", "999", "0", "0"], check=True)


def ask(folder, words, user=None):
    start = time.perf_counter()
    done = subprocess.run(words, cwd=folder, user=user, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - start, done


def main():
    if os.getuid() != 0:
        sys.exit("benches/others.py runs as root, because it gives sudo a file of its own")
    if "--inside" not in sys.argv:
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, __file__, "--inside"])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        prepare(folder)
        # Only this process and its children see it.
        subprocess.run(["mount", "--bind", folder / "sudoers", "/etc/sudoers"], check=True)
        folder.chmod(0o755)
        (folder / "access.db").chmod(0o600)
        python = lambda name, what: [sys.executable, folder / f"ask_{name}.py", "nobody", what]
        sides = {
            "`access check`": lambda yes: ([ACCESS, "--db", folder / "access.db", "check", "connection:c0" if yes else "connection:c9"], None),
            "`sudo -n -l COMMAND`": lambda yes: (["sudo", "-n", "-l", "/usr/bin/env", "c7" if yes else "c8"], NOBODY.pw_uid),
            "Casbin (Python)": lambda yes: (python("casbin", "c7" if yes else "c8"), None),
            "Cedar (cedarpy)": lambda yes: (python("cedar", "c7" if yes else "c8"), None),
            "Rego (regopy)": lambda yes: (python("rego", "c7" if yes else "c8"), None),
            "Python that does nothing": lambda yes: ([sys.executable, "-c", "raise SystemExit(%d)" % (not yes)], None),
        }
        taken = {side: [] for side in sides}
        for turn in range(TURNS + 1):
            for side, words in sides.items():
                for yes in (True, False):
                    seconds, done = ask(folder, *words(yes))
                    if done.returncode != (0 if yes else 1):
                        sys.exit(f"{side} said {done.returncode}: {done.stderr.decode()}")
                    if turn > 0 and yes:
                        taken[side].append(seconds)
        print("| one question of 1,000 permissions, as a whole process | median |\n| --- | --- |")
        for side, seconds in taken.items():
            print(f"| {side} | {statistics.median(seconds) * 1000:.1f} ms |")


main()
