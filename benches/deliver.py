"""Measures delivery: 10,000 notifications to one mail server on loopback, beside a bare loop of the same library; and
`request` and `approve` with every server down, beside the same with none configured.

usage: benches/deliver.sh [--count N]
"""

import argparse
import json
import os
import pathlib
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ACCESS = TARGET / "release/access"
BARE = TARGET / "release/examples/bare"
TEAM = """
[team]
name = "acme"
[members.olivia]
role = "owner"
login = "{login}"
email = "olivia@acme.example"
[members.bob]
role = "member"
email = "bob@acme.example"
slack = "U0BOB"
[connections.prod]
environment = "production"
"""
PILE = """
INSERT INTO event WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
    SELECT (SELECT last_seq FROM team) + i, at, actor, os_user, action, request, randomblob(32),
        json_set(body, '$.seq', (SELECT last_seq FROM team) + i, '$.told', json('[["bob","request.submitted"]]'))
    FROM n, event WHERE seq = 3;
INSERT INTO notification (id, seq, member, kind)
    SELECT seq + 1000, seq, 'bob', 'request.submitted' FROM event WHERE seq > (SELECT last_seq FROM team);
INSERT INTO outbox (notification, seq, topic, subscriber, due_at)
    SELECT seq + 1000, seq, 'request.submitted', 'email', 0 FROM event WHERE seq > (SELECT last_seq FROM team);
UPDATE team SET last_seq = last_seq + {count};
"""


class World:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=TARGET))
        self.env = {"HOME": str(self.folder), "PATH": os.environ["PATH"], "ACCESS_DB": str(self.folder / "access.db")}
        self.run("init", "--owner", "olivia", "--team", "acme")
        login = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        (self.folder / "team.toml").write_text(TEAM.format(login=login))
        self.run("team", "apply", str(self.folder / "team.toml"), "--yes")

    def run(self, *words):
        start = time.perf_counter()
        ran = subprocess.run([ACCESS, *words], env=self.env, capture_output=True, text=True)
        took = time.perf_counter() - start
        if ran.returncode not in (0, 1):
            sys.exit(f"access {words}: {ran.stderr}")
        return took, ran

    def sql(self, script):
        with sqlite3.connect(self.env["ACCESS_DB"]) as connection:
            connection.executescript(script)
        connection.close()

    def configure(self, text):
        config = self.folder / ".config/access/config.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(text)


def smtp(port):
    return f'[smtp]\nhost = "127.0.0.1"\nport = {port}\nencryption = "none"\nfrom = "access@acme.example"\n[deliver]\ndeadline = "30m"\n'


def rate(python, count):
    world = World()
    log = world.folder / "mail.log"
    server = subprocess.Popen([python, ROOT / "tests/servers/mail.py", log], stdout=subprocess.PIPE, text=True)
    port = server.stdout.readline().strip()
    world.configure(smtp(port))
    world.run("--as", "bob", "request", "connection:prod", "--reason", "Release 4.2: the usual, with a look at the queue")
    world.run("deliver")
    message = json.loads(log.read_text().splitlines()[-1])["data"]
    (world.folder / "message").write_bytes(message.encode())

    world.sql(PILE.format(count=count))
    ours, ran = world.run("deliver", "--json")
    assert json.loads(ran.stdout)["delivered"] == count, ran.stdout
    world.sql(PILE.format(count=count))
    timed = subprocess.run(
        ["/usr/bin/time", "-f", "%M", ACCESS, "deliver", "--json"], env=world.env, capture_output=True, text=True
    )
    assert json.loads(timed.stdout)["delivered"] == count, timed
    memory = int(timed.stderr.strip().splitlines()[-1]) / 1024
    bare_count = min(count, 1000)
    start = time.perf_counter()
    subprocess.run([BARE, port, str(bare_count), world.folder / "message"], check=True)
    bare = time.perf_counter() - start
    server.kill()
    print(f"| `deliver` of {count:,}; a bare loop of lettre | {count / ours:,.0f}/s | {bare_count / bare:,.0f}/s | {count / ours / (bare_count / bare):.2f} | at least 0.5 |")
    print(f"| its memory | {memory:.1f} MiB | | | 64 MiB |", flush=True)
    shutil.rmtree(world.folder)


def waiting(runs):
    """With every server down, and a sender at work on them, beside none configured."""
    worlds = [World(), World()]
    down = 'host = "127.0.0.1"\nport = 1\nencryption = "none"\nfrom = "a@acme.example"\n'
    secret = worlds[0].folder / "secret"
    secret.write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    secret.chmod(0o600)
    hook = f'[[webhooks]]\nname = "x"\nurl = "https://127.0.0.1:1/"\nevents = ["request.submitted"]\nsecret_file = "{secret}"\n'
    slack = f'[slack]\napi = "http://127.0.0.1:1"\ntoken_file = "{secret}"\n'
    worlds[0].configure(f"[smtp]\n{down}{slack}{hook}")
    times = {"request": ([], []), "approve": ([], [])}
    for turn in range(runs):
        for side, world in enumerate(worlds):
            took, _ = world.run("--as", "bob", "request", "connection:prod", "--reason", "x", "--yes")
            times["request"][side].append(took)
            took, _ = world.run("--as", "olivia", "approve", str(turn + 1), "--yes")
            times["approve"][side].append(took)
            world.run("--as", "olivia", "revoke", str(turn + 1), "--yes")
        if turn % 10 == 0:
            worlds[0].run("deliver")
    for verb, sides in times.items():
        a, b = map(statistics.median, sides)
        print(f"| `{verb}` with every server down; with none configured | {a * 1000:.2f} ms | {b * 1000:.2f} ms | {a / b:.2f} | 1.1 |", flush=True)
    for world in worlds:
        shutil.rmtree(world.folder)


def main():
    parser = argparse.ArgumentParser(prog="benches/deliver.sh", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=50, help="at most 50, which is what one member may file in a day")
    options = parser.parse_args()
    python = subprocess.run([ROOT / "tests/python.sh"], capture_output=True, text=True, check=True).stdout.strip()
    print("| what is measured; what beside it | A | B | A / B | bound |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    rate(python, options.count)
    waiting(options.runs)


if __name__ == "__main__":
    main()
