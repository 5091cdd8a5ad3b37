"""Measures `access` as whole processes, from fork and exec to the end, beside the `sqlite3` shell doing the same work.

Each row of the table is the median of runs that took turns: A B A B. Whatever is changed is a copy. The work is
checked: every exit code, and after each change the content of the tables.
"""

import argparse
import contextlib
import ctypes
import dataclasses
import hashlib
import json
import mmap
import os
import pathlib
import pwd
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent
ACCESS = ROOT / "target/release/access"
FILL = ROOT / "target/release/examples/fill"
BENCHES = ROOT / "target/benches"
SQLITE = shutil.which("sqlite3", path="/usr/local/bin:/usr/bin:/bin")
TIME = "/usr/bin/time"

# What the shell does. `{event}` and the like stand for the rows that access itself wrote, as literals.

CHECK = """
SELECT request, ends_at FROM grant
WHERE member = 'm0' AND resource = 'connection:c0' AND ended_at IS NULL
    AND starts_at <= unixepoch() AND (ends_at IS NULL OR ends_at > unixepoch());
"""

REQUEST = """
PRAGMA synchronous=FULL;
BEGIN IMMEDIATE;
INSERT INTO event VALUES {event};
INSERT INTO request VALUES {request};
INSERT INTO notification VALUES {notification};
INSERT INTO outbox VALUES {outbox};
UPDATE team SET last_seq = {last_seq};
COMMIT;
"""

APPROVE = """
PRAGMA synchronous=FULL;
BEGIN IMMEDIATE;
INSERT INTO event VALUES {event};
INSERT INTO decision VALUES {decision};
UPDATE request SET state = 'approved' WHERE id IN ({ids});
INSERT INTO grant VALUES {grant};
INSERT INTO notification VALUES {notification};
INSERT INTO outbox VALUES {outbox};
UPDATE team SET last_seq = {last_seq};
COMMIT;
"""

EXPIRE_ONCE = """
PRAGMA synchronous=FULL;
PRAGMA temp_store=MEMORY;
PRAGMA cache_size=-16000;
"""
EXPIRE_BATCH = """
BEGIN IMMEDIATE;
INSERT INTO event VALUES {event};
UPDATE grant SET ended_at = ends_at WHERE request IN ({ids});
INSERT INTO notification VALUES {notification};
INSERT INTO outbox VALUES {outbox};
UPDATE team SET last_seq = {last_seq}, expire_ran_at = {expire_ran_at};
COMMIT;
"""

# `verify` has SQLite compare every index with its table too.
READ_LOG = """
PRAGMA integrity_check;
SELECT sum(length(body)) FROM event;
"""

STATE = """CASE
        WHEN r.state <> 'approved' THEN r.state
        WHEN g.ended_by IS NOT NULL THEN 'revoked'
        WHEN g.ended_at IS NOT NULL OR g.ends_at <= unixepoch() THEN 'expired'
        WHEN g.starts_at > unixepoch() THEN 'scheduled'
        ELSE 'active' END"""

# Times as the numbers that they are stored as, and no nesting: less than access does.
LIST_JSON = f"""
SELECT r.id, {STATE} AS state, r.requester, r.filed_by, r.resource, r.reason, r.length, r.until, r.ticket,
    r.submitted_at, r.lapses_at, d.by, d.verdict, d.note, d.at, g.resource AS granted, g.length AS granted_for,
    g.modified, g.starts_at, g.ends_at, g.ends_at - unixepoch() AS remaining, g.ended_at, g.ended_by
FROM request r LEFT JOIN grant g ON g.request = r.id LEFT JOIN decision d ON d.request = r.id
ORDER BY r.id DESC;
"""

LIST_TABLE = f"""
SELECT r.id, {STATE} || ' ' || (unixepoch() - coalesce(g.ended_at, g.starts_at, r.submitted_at)) / 86400 || 'd ago' AS status,
    r.requester, coalesce(g.resource, r.resource) AS resource, coalesce(g.length, r.length) / 3600 || 'h' AS "for",
    (unixepoch() - r.submitted_at) / 86400 || 'd ago' AS asked, substr(r.reason, 1, 16) AS reason
FROM request r LEFT JOIN grant g ON g.request = r.id
ORDER BY r.id DESC;
"""

# What each file holds: requests whose access ended long ago, lapsed grants, pending requests. Each has one more
# request, whose grant is live: connection:c0 to m0.
FILES = {
    "thousand": (999, 0, 0),
    "ten-thousand": (9_999, 0, 600),
    "hundred-thousand": (99_999, 0, 0),
    # Four entries for each request, and four more.
    "million-entries": (249_999, 0, 0),
    "million": (999_999, 0, 600),
    "million-lapsed": (899_999, 100_000, 3_000),
    "ten-million": (9_999_999, 0, 600),
}
# Only if it is asked for: its file has 23 GB, and is filled each time in a quarter of an hour.
LONG = {17: "ten-million"}
# A pending request lapses after seven days, so what is older than this many is filled again.
FRESH = 3 * 86_400
PER_WRITER = 200
WRITERS = 16
# Members without an email of whom nothing is pending, and what they ask for.
ASKERS = 499


def fail(why):
    sys.exit(f"benches/run.py: {why}")


# Row 12: the user id of the server, and unshare(2)'s flag for mounts.
SERVER = 64_999
USER = "daemon"
CLONE_NEWNS = 0x20000


# Processes


@dataclasses.dataclass
class Run:
    wall: float
    cpu: float
    peak: int | None = None  # KiB


class Place:
    """Where the copies lie, and how processes are run there."""

    def __init__(self, folder):
        self.folder = folder
        self.env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"}

    def start(self, argv, stdin="/dev/null", stdout="/dev/null"):
        # In memory: to empty a file on disk takes longer than to write a line to it.
        errors = os.memfd_create("stderr")
        create = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, str(stdin), os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(stdout), create, 0o600),
            (os.POSIX_SPAWN_DUP2, errors, 2),
        ]
        argv = [str(word) for word in argv]
        start = time.perf_counter()
        return argv, errors, start, os.posix_spawn(argv[0], argv, self.env, file_actions=actions)

    def end(self, started, code=0):
        argv, errors, start, pid = started
        _, status, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - start
        ended = os.waitstatus_to_exitcode(status)
        said = os.pread(errors, 2000, 0).decode(errors="replace")
        os.close(errors)
        if ended != code:
            shown = " ".join(argv)[:500]
            fail(f"exit {ended}, and {code} was expected, of: {shown}\n{said}")
        return Run(wall, usage.ru_utime + usage.ru_stime)

    def run(self, argv, **streams):
        return self.end(self.start(argv, **streams))

    def run_heavy(self, argv, **streams):
        """With the peak of its memory. What the kernel tells a parent of its child's peak includes the parent's own,
        until exec: so time(1), which is small, is the parent, and its millisecond does not matter in a long run."""
        note = self.folder / "peak"
        run = self.run([TIME, "-q", "-f", "%M", "-o", note, *argv], **streams)
        run.peak = int(note.read_text())
        return run

    def output(self, argv):
        out = self.folder / "stdout"
        self.run(argv, stdout=out)
        return out.read_text()

    def copy(self, source, name):
        """A copy of a database, on the disk and warm."""
        path = self.folder / f"{name}.db"
        self.drop(path)
        subprocess.run(["cp", "--reflink=auto", "--preserve=mode", source, path], check=True)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        return path

    def drop(self, path):
        for suffix in ("", "-wal", "-shm", ".lock"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def in_child(job):
    """Runs `job` in a process of its own; gives what collects its answer."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            with open(writing, "w") as pipe:
                json.dump(job(), pipe)
            os._exit(0)
        except BaseException as error:
            traceback.print_exception(error) if not isinstance(error, SystemExit) else print(error, file=sys.stderr)
            os._exit(1)
    os.close(writing)

    def collect():
        with open(reading) as pipe:
            text = pipe.read()
        _, status = os.waitpid(pid, 0)
        if status != 0:
            fail("one of the processes at work failed")
        return json.loads(text)

    return collect


def access(db, *words):
    return [ACCESS, "--db", db, *words]


def shell(db, *words):
    return [SQLITE, "-batch", "-init", "/dev/null", *words[:-1], db, *words[-1:]]


# The content of the files


@contextlib.contextmanager
def opened(db):
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=rw", uri=True)) as connection:
        yield connection


def one(db, sql, *values):
    with opened(db) as connection:
        return connection.execute(sql, values).fetchone()[0]


def rows(connection, table, clause):
    """Rows of a table as literals of SQL: `(1,'x',NULL),(2,…)`."""
    columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
    quoted = " || ',' || ".join(f'quote("{name}")' for name in columns)
    return ",".join(f"({row})" for (row,) in connection.execute(f"SELECT {quoted} FROM {table} WHERE {clause}"))


def written(connection, after, until):
    """What was written with these entries, for the templates above."""
    within = f"seq > {after} AND seq <= {until}"
    entries = f"(SELECT request FROM event WHERE {within} AND action = "
    ids = connection.execute(f"SELECT DISTINCT request FROM event WHERE {within} AND request IS NOT NULL")
    return {
        "event": rows(connection, "event", within),
        "request": rows(connection, "request", f"id IN {entries} 'request.submitted')"),
        "decision": rows(connection, "decision", within),
        "grant": rows(connection, "grant", f"request IN {entries} 'grant.started')"),
        "notification": rows(connection, "notification", within),
        "outbox": rows(connection, "outbox", f"notification IN (SELECT id FROM notification WHERE {within})"),
        "ids": ",".join(str(id) for (id,) in ids),
        "last_seq": until,
        "expire_ran_at": connection.execute("SELECT coalesce(expire_ran_at, 'NULL') FROM team").fetchone()[0],
    }


def last_seq(db):
    return one(db, "SELECT max(seq) FROM event")


def digest(db, after):
    """What tells two files apart that were alike up to an entry: all that was written since, and what it concerns."""
    about = f"IN (SELECT request FROM event WHERE seq > {after})"
    questions = [
        *(f"SELECT * FROM {table} WHERE seq > {after} ORDER BY 1, 2" for table in ("event", "decision", "notification")),
        f"SELECT * FROM request WHERE id {about} ORDER BY id",
        f"SELECT * FROM grant WHERE request {about} ORDER BY request",
        "SELECT notification, subscriber, due_at FROM outbox ORDER BY notification, subscriber",
        "SELECT state, count(*), sum(id) FROM request GROUP BY state",
        "SELECT count(*), count(ended_at), sum(ended_at) FROM grant",
        "SELECT * FROM team",
    ]
    whole = hashlib.sha256()
    with opened(db) as connection:
        for question in questions:
            for row in connection.execute(question):
                whole.update(repr(row).encode())
    return whole.hexdigest()


# The rows of the table


@dataclasses.dataclass
class Line:
    row: int
    what: str
    a: str
    b: str
    measured: str
    bound: str
    holds: bool

    def markdown(self):
        return f"| {self.row} | {self.what} | {self.a} | {self.b} | {self.measured} | {self.bound} | {'yes' if self.holds else 'NO'} |"


def ms(seconds):
    value = seconds * 1000
    return f"{value:.2f} ms" if value < 100 else f"{value:,.0f} ms"


class Benches:
    def __init__(self, options, place, data):
        self.options = options
        self.place = place
        self.data = data
        self.lines = []

    def runs(self, usual):
        return self.options.runs or (min(usual, 5) if self.options.quick else usual)

    def add(self, line):
        self.lines.append(line)
        print(line.markdown(), flush=True)

    def ratio(self, row, what, a, b, bound):
        """A line from runs that took turns."""
        middle = [statistics.median(run.wall for run in side) for side in (a, b)]
        cpu = [statistics.median(run.cpu for run in side) for side in (a, b)]
        value = middle[0] / middle[1]
        print(f"row {row}: {len(a)} runs, cpu {ms(cpu[0])} and {ms(cpu[1])}", file=sys.stderr)
        self.add(Line(row, what, ms(middle[0]), ms(middle[1]), f"{value:.2f}", f"{bound:.2f}", value <= bound))

    def peak(self, row, what, runs, bound):
        most = max(run.peak for run in runs) / 1024
        self.add(Line(row, what, f"{most:.1f} MiB", "", f"{most:.1f} MiB", f"{bound} MiB", most <= bound))

    def slowest(self, row, what, times, bound):
        most, middle = max(times), statistics.median(times)
        what = f"{what}: slowest of {len(times):,} (median {ms(middle)})"
        self.add(Line(row, what, ms(most), "", ms(most), f"{bound} ms", most * 1000 <= bound))

    def turns(self, usual, a, b, warm=1, before=None):
        """A B A B, the first of each to warm up. Where something is prepared before each pair, the first of the pair pays
        for its aftermath, so the order is A B B A."""
        taken = []
        for turn in range(self.runs(usual) + warm):
            if before:
                before()
            if before and turn % 2 == 1:
                taken.append((b(turn), a(turn))[::-1])
            else:
                taken.append((a(turn), b(turn)))
        return [list(side) for side in zip(*taken[warm:])]

    def verify(self, db):
        """Checks that the log of a changed file is valid. This takes long for the large files."""
        if self.options.quick or db.stat().st_size < 1 << 28:
            self.place.run(access(db, "--as", "alice", "audit", "verify"))

    def row_1(self):
        """`check`, allowed by a grant, beside one indexed SELECT"""
        db = self.data("thousand")
        allowed = access(db, "check", "connection:c0")
        select = shell(db, CHECK)
        if "through request" not in self.place.output(allowed) or not self.place.output(select).strip():
            fail("m0 should have connection:c0 by a grant")
        a, b = self.turns(200, lambda _: self.place.run(allowed), lambda _: self.place.run(select), warm=5)
        self.ratio(1, "`check`, allowed by a grant, among 1,000 requests; one `SELECT` of that grant", a, b, 0.95)
        self.peak(1, "its memory", [self.place.run_heavy(allowed) for _ in range(5)], 10)

    def row_2(self):
        """`check` in a million requests beside `check` in a thousand"""
        few, many = (access(self.data(name), "check", "connection:c0") for name in ("thousand", "million"))
        a, b = self.turns(200, lambda _: self.place.run(many), lambda _: self.place.run(few), warm=5)
        self.ratio(2, "`check` among 1,000,000 requests; among 1,000", a, b, 1.1)

    def replay(self, template, a, b, words):
        """Has access change A, and the shell make the same change in B."""
        sql = self.place.folder / "replay.sql"

        def by_access(turn):
            self.before = last_seq(a)
            run = self.place.run(access(a, *words(turn)))
            with opened(a) as connection:
                sql.write_text(template.format(**written(connection, self.before, last_seq(a))))
            return run

        return by_access, lambda _: self.place.run(shell(b, "-bail"), stdin=sql)

    def durable(self, row, what, template, words, bound):
        source = self.data("ten-thousand")
        a, b = self.place.copy(source, "a"), self.place.copy(source, "b")
        before = last_seq(a)
        runs = self.turns(100, *self.replay(template, a, b, words))
        if digest(a, before) != digest(b, before):
            fail(f"row {row}: access and the shell did not write the same")
        self.verify(a)
        self.verify(b)
        self.ratio(row, what, *runs, bound)

    def row_3(self):
        """`request` beside the same rows by the shell"""
        self.durable(3, "`request`; the same rows in one transaction", REQUEST, ask, 0.9)

    def row_4(self):
        """`approve` beside the same rows by the shell"""
        first = one(self.data("ten-thousand"), "SELECT min(id) FROM request WHERE state = 'pending'")
        words = lambda turn: ("--as", "alice", "approve", str(first + turn), "--yes")
        self.durable(4, "`approve`; the same rows in one transaction", APPROVE, words, 0.9)

    def expire(self, db, count):
        """Expires, and sees that so many were."""
        out = self.place.folder / "stdout"
        run = self.place.run_heavy(access(db, "expire", "--no-deliver", "--json"), stdout=out)
        self.see_expired(out, count)
        return run

    def see_expired(self, out, count):
        told = json.loads(out.read_text())
        told = told[0] if isinstance(told, list) else told
        if told["expired"] != count:
            fail(f"{count} grants should have expired: {told}")

    def live(self, db):
        return one(db, "SELECT count(*) FROM grant WHERE ended_at IS NULL")

    def row_5(self):
        """`expire` of 100,000 beside the same rows by the shell"""
        source = self.data("million-lapsed")
        before, count = last_seq(source), self.live(source) - 1
        sql = self.place.folder / "expire.sql"

        def by_access(turn):
            db = self.place.copy(source, "a")
            run = self.expire(db, count)
            if turn == 0:
                self.write_expire(db, before, sql)
                self.verify(db)
                self.told = digest(db, before)
            if self.live(db) != 1:
                fail("grants are left that have lapsed")
            self.place.drop(db)
            return run

        def by_shell(turn):
            db = self.place.copy(source, "b")
            run = self.place.run_heavy(shell(db, "-bail"), stdin=sql)
            if turn == 0 and digest(db, before) != self.told:
                fail("row 5: access and the shell did not write the same")
            if self.live(db) != 1:
                fail("the shell left grants that have lapsed")
            self.place.drop(db)
            return run

        a, b = self.turns(3, by_access, by_shell, warm=0)
        sql.unlink()
        self.ratio(5, "`expire` of 100,000 among 1,000,000, without delivery; the same rows in the same batches", a, b, 1.5)
        self.peak(5, "its memory", a, 64)

    def write_expire(self, db, before, path):
        with opened(db) as connection, open(path, "w") as file:
            file.write(EXPIRE_ONCE)
            last = connection.execute("SELECT max(seq) FROM event").fetchone()[0]
            for after in range(before, last, 1000):
                file.write(EXPIRE_BATCH.format(**written(connection, after, min(after + 1000, last))))

    def row_6(self):
        """`expire` of 10 among a million beside 10 among ten thousand"""
        many = self.place.copy(self.data("million"), "a")
        few = self.place.copy(self.data("ten-thousand"), "b")
        out = self.place.folder / "stdout"

        def expire(db):
            run = self.place.run(access(db, "expire", "--no-deliver", "--json"), stdout=out)
            self.see_expired(out, 10)
            return run

        def lapse():
            for filling in [self.place.start([FILL, "lapse", db, 10]) for db in (many, few)]:
                self.place.end(filling)

        runs = self.turns(20, lambda _: expire(many), lambda _: expire(few), before=lapse)
        self.verify(many)
        self.verify(few)
        self.place.drop(many)
        self.ratio(6, "`expire` of 10 among 1,000,000 requests, without delivery; among 10,000", *runs, 1.15)

    def row_7(self):
        """the slowest `check` and `approve` while 100,000 expire"""
        source = self.data("million-lapsed")
        first = one(source, "SELECT min(id) FROM request WHERE state = 'pending'")
        pending, count = one(source, "SELECT count(*) FROM request WHERE state = 'pending'"), self.live(source) - 1
        checks, approvals = [], []
        for _ in range(self.runs(3)):
            db = self.place.copy(source, "a")
            over = mmap.mmap(-1, 1)

            def check():
                times = []
                while over[0] == 0:
                    times.append(self.place.run(access(db, "check", "connection:c0")).wall)
                return times

            def approve():
                times = []
                while over[0] == 0:
                    if len(times) == pending:
                        fail("row 7: no more pending requests to approve")
                    id = str(first + len(times))
                    times.append(self.place.run(access(db, "--as", "alice", "approve", id, "--yes")).wall)
                return times

            out = self.place.folder / "stdout"
            expiring = self.place.start(access(db, "expire", "--no-deliver", "--json"), stdout=out)
            collects = [in_child(check), in_child(approve)]
            self.place.end(expiring)
            over[0] = 1
            of_check, of_approve = (collect() for collect in collects)
            self.see_expired(out, count)
            if self.live(db) != 1 + len(of_approve):
                fail("row 7: the grants that live are not the ones that should")
            checks += of_check
            approvals += of_approve
            self.verify(db)
            self.place.drop(db)
        self.slowest(7, "`check` while 100,000 expire, none failing", checks, 50)
        self.slowest(7, "`approve` while 100,000 expire, none failing", approvals, 150)

    def row_8(self):
        """sixteen processes that write at the same time"""
        db = self.place.copy(self.data("ten-thousand"), "a")
        each = max(PER_WRITER // (100 if self.options.quick else 1), 2)
        before = one(db, "SELECT count(*) FROM request")
        go = mmap.mmap(-1, 1)

        def writer(number):
            while go[0] == 0:
                time.sleep(0.001)
            return [self.place.run(access(db, *ask(number * each + turn))).wall for turn in range(each)]

        collects = [in_child(lambda number=number: writer(number)) for number in range(WRITERS)]
        go[0] = 1
        times = [wall for collect in collects for wall in collect()]
        if one(db, "SELECT count(*) FROM request") != before + WRITERS * each:
            fail("row 8: not every request was filed")
        self.verify(db)
        self.slowest(8, f"{WRITERS} processes that write {each} times each, none failing", times, 150)

    def row_9(self):
        """`audit verify` beside SQLite's own check of the file and reading the log"""
        db = self.data("million-entries")
        prove = access(db, "--as", "alice", "audit", "verify")
        runs = self.turns(5, lambda _: self.place.run_heavy(prove), lambda _: self.place.run_heavy(shell(db, READ_LOG)))
        self.ratio(9, "`audit verify` of 1,000,000 entries; `integrity_check` and reading their bytes", *runs, 2.5)
        self.peak(9, "its memory", runs[0], 64)
        # The first makes the key.
        one_entry = access(db, "--as", "alice", "audit", "prove", "500000")
        proofs = [self.place.run_heavy(one_entry) for _ in range(self.runs(5) + 1)][1:]
        self.slowest(9, "`audit prove` of one of 1,000,000 entries", [proof.wall for proof in proofs], 2000)
        self.peak(9, "its memory", proofs, 64)

    def row_10(self):
        """`list` of 100,000 requests beside the shell's"""
        db = self.data("hundred-thousand")
        heavy = self.place.run_heavy
        listing = access(db, "--as", "alice", "list", "--all", "--limit", "0")
        total = one(db, "SELECT count(*) FROM request")
        listed = len(json.loads(self.place.output([*listing, "--json"])))
        lines = self.place.output(listing).count("\n") - 1
        by_shell = len(json.loads(self.place.output(shell(db, "-json", LIST_JSON))))
        if (listed, lines, by_shell) != (total, total, total):
            fail(f"row 10: {listed} in JSON, {lines} in the table and {by_shell} by the shell, where {total} are")
        json_a, json_b = self.turns(10, lambda _: heavy([*listing, "--json"]), lambda _: heavy(shell(db, "-json", LIST_JSON)))
        self.ratio(10, "`list --json` of 100,000 requests; `sqlite3 -json` of the same fields", json_a, json_b, 0.7)
        table_a, table_b = self.turns(10, lambda _: heavy(listing), lambda _: heavy(shell(db, "-column", LIST_TABLE)))
        self.ratio(10, "the same as a table; `sqlite3 -column`", table_a, table_b, 1.0)
        self.peak(10, "its memory", json_a + table_a, 16)

    def row_11(self):
        """One request judged by a thousand rules in a large team, and by one in a small"""
        large, small = self.team("large", 1000, 10_000), self.team("small", 1, 10)
        words = ("--as", "m9", "request", "connection:c1", "--reason", "OPS-7: look into the alert", "--duration", "4h", "--dry-run", "--json")
        for db in (large, small):
            judged = json.loads(self.place.output(access(db, *words)))
            if [rule["rule"] for rule in judged["rules"]] != ["production"] or judged["approvals"]["need"] != 2:
                fail(f"row 11: {judged} by {db}")
        run = self.place.run
        runs = self.turns(200, lambda _: run(access(large, *words)), lambda _: run(access(small, *words)))
        self.ratio(11, "a request judged by 1,000 rules among 10,000 members; by 1 among 10", *runs, 1.5)

    def team(self, name, rules, members):
        """A database of this many rules, of which the last matches, and this many members."""
        db, file = self.place.folder / f"{name}.db", self.place.folder / f"{name}.toml"
        login = pwd.getpwuid(os.getuid()).pw_name
        lines = ['[team]', 'name = "acme"', '[members.m0]', 'role = "owner"', f'login = "{login}"']
        for member in range(1, members):
            lines += [f"[members.m{member}]", f'role = "{"admin" if member < 4 else "member"}"']
        lines += ["[groups.dba]", 'members = ["m1", "m2", "m5"]']
        for number in range(20):
            lines += [f"[connections.c{number}]", f'environment = "{"production" if number % 2 else "non-production"}"']
        for number in range(40):
            lines += [f"[targets.t{number}]", f'connections = ["c{number % 20}"]']
        for number in range(1, rules):
            lines += ["[[rules]]", f'name = "rule {number}"', 'approvers = ["role:admin", "group:dba"]', "approvals = 2"]
            lines += ['max_duration = "8h"', 'ticket = "OPS-[0-9]+"']
            resources = f'["connection:x{number}-*", "target:y{number}-*"]'
            lines += [f'match = {{ resources = {resources}, environments = ["production"], longer_than = "1d" }}']
        lines += ["[[rules]]", 'name = "production"', 'approvers = ["role:admin", "group:dba"]', "approvals = 2"]
        lines += ['match = { resources = ["connection:c*", "target:*"], environments = ["production"] }']
        file.write_text("\n".join(lines))
        self.place.output(access(db, "init", "--owner", "m0"))
        self.place.output(access(db, "team", "apply", str(file), "--yes"))
        return db

    def row_12(self):
        """`check` over a shared host's socket beside `check` in a database of your own"""
        if os.geteuid() != 0:
            print("row 12: left out: it needs root", file=sys.stderr)
            return
        if os.path.exists("/etc/access") or os.path.exists("/run/access"):
            print("row 12: left out: this machine is a shared host", file=sys.stderr)
            return
        collect = in_child(lambda: self.over_the_socket(self.data("thousand")))
        runs = collect()
        if not runs:
            return
        door, own = ([Run(*run) for run in side] for side in runs)
        self.ratio(12, "`check` over a shared host's socket, among 1,000 requests; in a database of your own", door, own, 2.5)

    def over_the_socket(self, source):
        """On mounts of this process's own, so that the machine stays as it is."""
        mounts = [["mount", "-t", "tmpfs", "-o", "mode=0755", "bench", folder] for folder in ("/run", "/mnt")]
        overlay = "lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work"
        layers = [["mkdir", "-m", "755", "/mnt/upper", "/mnt/work"], ["mount", "-t", "overlay", "-o", overlay, "bench", "/etc"]]
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
            print("row 12: left out, for it needs mounts of its own", file=sys.stderr)
            return None
        for argv in [["mount", "--make-rprivate", "/"], *mounts, *layers]:
            subprocess.run(argv, check=True)
        folder = pathlib.Path(tempfile.mkdtemp(dir="/var/lib", prefix="access-bench-"))
        try:
            for path in ("/etc/access", "/run/access"):
                os.mkdir(path, 0o755)
                os.chmod(path, 0o755)
            database = self.place.copy(source, "door")
            shared, own = folder / "shared", folder / "own"
            for part, uid in ((shared, SERVER), (own, pwd.getpwnam(USER).pw_uid)):
                part.mkdir(mode=0o700)
                shutil.copy(database, part / "access.db")
                os.chmod(part / "access.db", 0o600)
                for path in (part, part / "access.db"):
                    os.chown(path, uid, uid)
            os.chmod(folder, 0o755)
            with open("/etc/passwd", "a") as passwd:
                passwd.write(f"access:x:{SERVER}:{SERVER}::/:/usr/sbin/nologin\n")
            # The member whose grant is checked is this user.
            with opened(shared / "access.db") as connection:
                connection.execute("UPDATE member SET login = ? WHERE name = 'm0'", (USER,))
                connection.commit()
            config = pathlib.Path("/etc/access/config.toml")
            config.write_text(f'socket = "/run/access/access.sock"\ndatabase = "{shared}/access.db"\n')
            os.chmod(config, 0o644)
            program = folder / "access"
            shutil.copy(ACCESS, program)
            server = subprocess.Popen([program, "serve"], stdin=subprocess.DEVNULL)
            try:
                while not os.path.exists("/run/access/access.sock"):
                    if server.poll() is not None:
                        fail("row 12: the server ended")
                    time.sleep(0.01)
                user = pwd.getpwnam(USER)
                with opened(own / "access.db") as connection:
                    connection.execute("UPDATE member SET login = ? WHERE name = 'm0'", (USER,))
                    connection.commit()
                # So that the user can take the config away for a moment, in turns.
                os.chown("/etc/access", user.pw_uid, user.pw_gid)
                at = folder / "at"
                at.mkdir(mode=0o700)
                for owned, uid in ((shared, SERVER), (own, user.pw_uid), (at, user.pw_uid)):
                    for path in (owned, *owned.iterdir()):
                        os.chown(path, uid, uid)
                hidden = config.with_suffix(".hidden")

                def as_user():
                    os.setgroups([])
                    os.setgid(user.pw_gid)
                    os.setuid(user.pw_uid)
                    os.chdir("/")
                    place = Place(at)

                    def of_own(_):
                        config.rename(hidden)
                        run = place.run([program, "--db", own / "access.db", "check", "connection:c0"])
                        hidden.rename(config)
                        return run

                    through = lambda _: place.run([program, "check", "connection:c0"])
                    door, alone = self.turns(200, through, of_own, warm=5)
                    return [[(run.wall, run.cpu) for run in side] for side in (door, alone)]

                return in_child(as_user)()
            finally:
                server.kill()
                server.wait()
        finally:
            shutil.rmtree(folder)


    def row_13(self):
        """each command among a million requests beside the same among ten thousand"""
        files = [self.place.copy(self.data(name), side) for name, side in (("million", "a"), ("ten-thousand", "b"))]
        firsts = [one(db, "SELECT min(id) FROM request WHERE state = 'pending'") for db in files]
        for what, words, code in FLAT:

            def run(side, turn):
                db, first = files[side], firsts[side]
                argv = access(db, *[str(word(first, turn)) if callable(word) else word for word in words])
                return self.place.end(self.place.start(argv), code)

            runs = self.turns(50, lambda turn: run(0, turn), lambda turn: run(1, turn), warm=3)
            self.ratio(13, f"{what}, among 1,000,000 requests; among 10,000", *runs, 1.15)
        for db in files:
            self.verify(db)
            self.place.drop(db)

    def row_14(self):
        """Questions about a moment of the past"""
        db = self.data("million-entries")
        middle = "SELECT strftime('%Y-%m-%dT%H:%M:%SZ', at, 'unixepoch') FROM event WHERE seq = (SELECT max(seq) / 2 FROM event)"
        moment = ("--at", one(db, middle))
        questions = [
            (("who", "connection:c0"), 0, 1000),
            (("who", "--user", "m9"), 0, 1000),
            (("check", "connection:c0", "--user", "m9"), 1, 1000),
            (("team", "show"), 0, 1000),
            # It looks at each request, since any could have been open then.
            (("list",), 0, 2000),
        ]
        for question, code, bound in questions:
            words = access(db, "--as", "alice", *question, *moment)
            times = [self.place.end(self.place.start(words), code).wall for _ in range(self.runs(5))]
            self.slowest(14, f"`{' '.join(question)} --at` in the middle of 1,000,000 entries", times, bound)

    def row_15(self):
        """`report` of 10,000 grants, and of a million entries"""
        for name, what, bound, most in (("ten-thousand", "10,000 grants", 3, 64), ("million-entries", "1,000,000 entries", 15, 128)):
            out = self.place.folder / "report.html"
            report = access(self.data(name), "--as", "alice", "report", "--since", "2001-01-01", "--html", out)
            runs = [self.place.run_heavy(report) for _ in range(self.runs(5))]
            page = out.read_text()
            grants = one(self.data(name), "SELECT count(*) FROM grant")
            if f'<a href="#b-grants_held">{grants:,}</a>' not in page:
                fail(f"row 15: the page does not count {grants:,} grants")
            if len(page) > 2 << 20:
                fail(f"row 15: the page has {len(page):,} bytes")
            self.slowest(15, f"`report --html` of {what}", [run.wall for run in runs], bound * 1000)
            self.peak(15, "its memory", runs, most)

    def row_17(self):
        """what people wait for among ten million requests beside ten thousand"""
        many, few = self.data("ten-million"), self.place.copy(self.data("ten-thousand"), "b")
        out = self.place.folder / "stdout"
        beside = ", among 10,000,000 requests; among 10,000"

        def lapse():
            for filling in [self.place.start([FILL, "lapse", db, 10]) for db in (many, few)]:
                self.place.end(filling)

        def expire(db):
            run = self.place.run(access(db, "expire", "--no-deliver", "--json"), stdout=out)
            self.see_expired(out, 10)
            return run

        for what, words in (
            ("`check`", lambda _: ("check", "connection:c0")),
            ("`list`", lambda _: ("--as", "alice", "list")),
            ("`list --all`", lambda _: ("--as", "alice", "list", "--all")),
            ("`request`", ask),
        ):
            sides = [lambda turn, db=db: self.place.run(access(db, *words(turn))) for db in (many, few)]
            self.ratio(17, what + beside, *self.turns(100, *sides, warm=5), 1.1)
        runs = self.turns(20, lambda _: expire(many), lambda _: expire(few), before=lapse)
        self.ratio(17, "`expire` of 10, without delivery" + beside, *runs, 1.1)
        run = self.place.run_heavy(access(many, "--as", "alice", "audit", "verify"))
        self.slowest(17, f"`audit verify` of {last_seq(many):,} entries", [run.wall], 400_000)
        # Replay keeps five bytes of each request.
        self.peak(17, "its memory", [run], 64 + 48)
        # What was changed in it can't be changed again.
        self.place.drop(many)

    def row_16(self):
        """`audit verify` beside an earlier build of it, each of its own file"""
        earlier = self.options.before
        if earlier is None:
            print("row 16 is left out: name a folder with an earlier access and fill by --before", file=sys.stderr)
            return
        now, then = self.data("million-entries"), self.place.folder / "before.db"
        past, lapsed, pending = FILES["million-entries"]
        past = (past + 1) // 100 - 1 if self.options.quick else past
        login = pwd.getpwuid(os.getuid()).pw_name
        subprocess.run([earlier / "fill", "create", then, login, str(past), str(lapsed), str(pending)], check=True)
        # The key that signs checkpoints may be an entry of one of them.
        if abs(last_seq(now) - last_seq(then)) > 1:
            fail("row 16: the two files do not have the same number of entries")
        prove = lambda program, db: lambda _: self.place.run([program, "--db", db, "--as", "alice", "audit", "verify"])
        runs = self.turns(9, prove(ACCESS, now), prove(earlier / "access", then))
        self.ratio(16, "`audit verify` of 1,000,000 entries; by an earlier build", *runs, 1.25)
        self.place.drop(then)


def ask(turn):
    """The words of one more request: each by another member, or for something else."""
    member, resource = f"m{1 + turn % ASKERS}", f"connection:c{1 + turn // ASKERS}"
    return ("--as", member, "request", resource, "--reason", "OPS-7: look into the alert", "--duration", "4h", "--yes")


def pending(after):
    """A word of a command: the number of one more pending request. Each command has some of its own."""
    return lambda first, turn: first + after + turn


ALICE, MEMBER = ("--as", "alice"), ("--as", "m1")
WHY = ("--reason", "OPS-7: look into the alert")
# What takes no longer in a long history: its name, its words, and how it exits. m1 has had 20 requests in the short one, and
# 2,004 in the long one.
FLAT = [
    ("`check`, denied", (*MEMBER, "check", "connection:c5"), 1),
    ("`request`", ("--as", lambda _, turn: f"m{2 + turn}", "request", "connection:c5", *WHY, "--yes"), 0),
    ("`whoami`", (*MEMBER, "whoami"), 0),
    ("`show`", (*ALICE, "show", pending(0)), 0),
    ("`list`", (*ALICE, "list"), 0),
    ("`list --all`", (*ALICE, "list", "--all"), 0),
    ("`list` of a member's own", (*MEMBER, "list", "--mine"), 0),
    ("`list --state denied`", (*ALICE, "list", "--state", "denied"), 0),
    ("`inbox`, of 10,000 notifications for each 10,000 requests", ("--as", "arno", "inbox"), 0),
    ("`inbox --all`", ("--as", "arno", "inbox", "--all"), 0),
    ("`audit`", (*ALICE, "audit"), 0),
    ("`audit --actor`, of the owner", (*ALICE, "audit", "--actor", "olga"), 0),
    ("`audit --action team.initialized`", (*ALICE, "audit", "--action", "team.initialized"), 0),
    ("`audit --until`", (*ALICE, "audit", "--until", "2001-01-01"), 0),
    ("`approve`", (*ALICE, "approve", pending(100), "--yes"), 0),
    ("`deny`", (*ALICE, "deny", pending(200), "--reason", "not now", "--yes"), 0),
    ("`resources`", (*MEMBER, "resources"), 0),
    ("`expire` with nothing to do", ("expire",), 0),
    ("`deliver` with nothing to do", ("deliver",), 0),
]
ROWS = {number: getattr(Benches, f"row_{number}") for number in range(1, 18)}


# Data, and the machine


def data_in(quick):
    """Gives each file by name; it is filled when it is first asked for."""
    key = hashlib.sha256()
    sources = ["benches/fill.rs", "src/domain/event.rs", "src/store/write.rs", "src/store/project.rs"]
    for source in sources + sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("src/store/*.sql")):
        key.update((ROOT / source).read_bytes())
    kind = "quick" if quick else "full"
    folder = BENCHES / f"{kind}-{key.hexdigest()[:12]}"
    for old in BENCHES.glob(f"{kind}-*"):
        if old != folder:
            shutil.rmtree(old)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    login = pwd.getpwuid(os.getuid()).pw_name

    def data(name):
        path = folder / f"{name}.db"
        if path.exists() and time.time() - path.stat().st_mtime > FRESH:
            path.unlink()
        if not path.exists():
            past, lapsed, pending = FILES[name]
            if quick:
                past, lapsed, pending = (past + 1) // 100 - 1, lapsed // 100, pending // 5
            print(f"filling {name}: {past + lapsed + pending + 1:,} requests", file=sys.stderr, flush=True)
            start = time.monotonic()
            draft = folder / f"{name}.draft"
            draft.unlink(missing_ok=True)
            subprocess.run([FILL, "create", draft, login, str(past), str(lapsed), str(pending)], check=True)
            subprocess.run([ACCESS, "--db", draft, "--as", "alice", "audit", "verify"], check=True, stdout=sys.stderr)
            draft.rename(path)
            draft.with_name(draft.name + ".lock").unlink(missing_ok=True)
            took = time.monotonic() - start
            print(f"filled in {took:.0f} s, {path.stat().st_size >> 20} MiB", file=sys.stderr, flush=True)
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size > 0:
            fail(f"{wal} is there: is another run at work?")
        return path

    return data


def machine():
    def words(path, key):
        with open(path) as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(key)), "unknown")

    def output(*argv):
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    cores = len(os.sched_getaffinity(0))
    memory = int(words("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)
    with open("/proc/self/mounts") as mounts:
        points = {point: system for _, point, system, *_ in map(str.split, mounts)}
    system = next(points[str(folder)] for folder in [BENCHES, *BENCHES.parents] if str(folder) in points)
    yield f"{cores} cores of {words('/proc/cpuinfo', 'model name')}, {memory:.0f} GiB, {system}, Linux {os.uname().release}"
    yield f"{output(str(ACCESS), '--version')}; the sqlite3 shell {output(SQLITE, '--version').split()[0]}"


def main():
    global ACCESS, FILL
    parser = argparse.ArgumentParser(prog="benches/run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="ROW", type=int, action="append", choices=ROWS, help="only this row (1 to 17); can be given again; row 17 runs only if it is given")
    parser.add_argument("--runs", metavar="N", type=int, help="so many runs of each side")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the sizes: to try the benchmarks, not to measure")
    parser.add_argument("--before", metavar="FOLDER", type=pathlib.Path, help="for row 16: an earlier access and fill, for their own file")
    parser.add_argument("--debug", action="store_true", help="the debug builds, with --quick")
    parser.add_argument("--show-sql", action="store_true", help="print what the sqlite3 shell is given, and stop")
    parser.add_argument("--fill", action="store_true", help="fill all files, and stop")
    options = parser.parse_args()
    if options.runs is not None and options.runs < 1:
        parser.error("--runs is 1 or more")
    if options.debug and not options.quick:
        parser.error("--debug measures nothing: it goes with --quick")
    if options.debug:
        ACCESS, FILL = ROOT / "target/debug/access", ROOT / "target/debug/examples/fill"
    if options.show_sql:
        shown = {"1": CHECK, "3": REQUEST, "4": APPROVE, "5, once": EXPIRE_ONCE, "5, for each batch": EXPIRE_BATCH}
        shown |= {"9": READ_LOG, "10, -json": LIST_JSON, "10, -column": LIST_TABLE}
        print("\n".join(f"-- row {row}{sql}" for row, sql in shown.items()), end="")
        return
    if sqlite3.sqlite_version_info < (3, 38):
        fail(f"Python's SQLite is {sqlite3.sqlite_version}, and 3.38 is needed")
    os.umask(0o077)
    BENCHES.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = data_in(options.quick)
    if options.fill:
        for name in FILES:
            if name not in LONG.values():
                data(name)
        return
    work = BENCHES / f"work-{os.getpid()}"
    work.mkdir(mode=0o700)
    place = Place(work)
    # As installed. What the linker wrote, through a mapping, lies in single pages in the page cache: for as long as it
    # stays there each start has a tenth more page faults than it has of a copy, or once it was read from the disk.
    ACCESS = shutil.copy(ACCESS, work)
    # A build for the tests would take this as the time, and fail.
    overridden = Place(work)
    overridden.env = place.env | {"ACCESS_TEST_NOW": "never"}
    overridden.run(access(data("thousand"), "check", "connection:c0"))
    print("\n".join(machine()))
    if options.quick:
        print("\nWith a hundredth of the sizes: these numbers mean nothing.")
    print("\n| row | what is measured; what beside it | A | B | A / B, or the most | bound | holds |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    benches = Benches(options, place, data)
    try:
        for row in sorted(set(options.only or ROWS.keys() - LONG.keys())):
            ROWS[row](benches)
    finally:
        shutil.rmtree(work)
    if not options.quick and not all(line.holds for line in benches.lines):
        sys.exit(1)


if __name__ == "__main__":
    main()
