#!/usr/bin/env python3
"""Writes benches/start.order: the functions that short commands run, which the linker puts side by side.

A start maps the program's text in pieces of 64 KiB, wherever it is touched; what lies scattered over all of it costs
each start a tenth of its time and half of its memory. The names are of this compiler and these dependencies: after a
change of either, run this again (it needs valgrind). Names that are no more do no harm.
"""

import json
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ORDER = ROOT / "benches" / "start.order"
TARGET = ROOT / "target" / "order"


def called(profile):
    """The functions of the program itself, in the order of the profile."""
    names, objects, current = {}, {}, ""
    for line in profile.read_text().splitlines():
        if match := re.match(r"c?ob=\((\d+)\)(?: (.*))?", line):
            number, name = match.groups()
            if name:
                objects[number] = name
            if line.startswith("ob="):
                current = objects.get(number, "")
        elif match := re.match(r"c?fn=\((\d+)\)(?: (.*))?", line):
            number, name = match.groups()
            if name:
                names[number] = re.sub(r"'\d+$", "", name.strip())
            if line.startswith("fn=") and current.endswith("/access"):
                yield names[number]


def main():
    # As it is built to be used, but for the names: a setting of the profile would give it other ones.
    build = ["cargo", "rustc", "--release", "--bin", "access", "--target-dir", TARGET, "--", "-C", "strip=none"]
    subprocess.run(build, cwd=ROOT, check=True)
    program = TARGET / "release" / "access"
    listing = subprocess.run(["nm", program], check=True, capture_output=True, text=True).stdout
    known = {line.split()[-1] for line in listing.splitlines() if line.split()[-2] in "tTwW"}
    order = {}
    with tempfile.TemporaryDirectory() as folder:
        db, profile = Path(folder, "access.db"), Path(folder, "profile")

        def access(*words):
            return subprocess.run([program, "--db", db, *words], check=True, capture_output=True, text=True).stdout

        def traced(*words):
            command = ["valgrind", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={profile}", program]
            subprocess.run([*command, "--db", db, *words], check=True, capture_output=True)
            order.update(dict.fromkeys(name for name in called(profile) if name in known))

        access("init", "--owner", "olivia", "--sample")
        ask = ("request", "target:orders-db", "--reason", "OPS-7: stuck orders")
        first = json.loads(access("--as", "bob", *ask, "--json"))["id"]
        access("--as", "alice", "approve", str(first))
        traced("--as", "bob", "check", "target:orders-db")
        traced("--as", "carol", *ask)
        traced("--as", "alice", "approve", str(first + 1))
        for words in (["list"], ["whoami"], ["show", str(first)], ["expire", "--no-deliver"]):
            traced("--as", "bob", *words)
    ORDER.write_text("".join(f"{name}\n" for name in order))
    print(f"{len(order)} of {len(known)} functions")


if __name__ == "__main__":
    main()
