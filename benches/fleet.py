"""Measures a log that several hosts share: three nodes of PostgreSQL under Patroni on loopback, with a synchronous standby,
and hosts that run real commands, each with a role and a copy of its own. Run it by benches/fleet.sh.
"""

import argparse
import contextlib
import heapq
import os
import pathlib
import pwd
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import run
from run import BENCHES, ROOT, fail, ms, opened

sys.path.insert(0, str(ROOT / "target/test-patroni"))
import psycopg2  # noqa: E402

APPEND = ROOT / "target/release/examples/append"
PATRONI = ROOT / "target/test-patroni"
PROGRAMS = max(pathlib.Path("/usr/lib/postgresql").iterdir(), key=lambda path: float(path.name)) / "bin"
PASSWORD = "sesame"
SETTINGS = """
scope: bench
name: n{number}
restapi: {{listen: "127.0.0.1:{rest}", connect_address: "127.0.0.1:{rest}"}}
etcd3: {{host: "127.0.0.1:{etcd}"}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    maximum_lag_on_failover: 0
    synchronous_mode: true
    synchronous_mode_strict: true
    postgresql:
      use_slots: true
      parameters: {{max_connections: 200, shared_buffers: 256MB, wal_keep_size: 128MB}}
  initdb: [{{encoding: UTF8}}, {{locale: C.UTF-8}}]
  pg_hba:
  - host replication replicator 127.0.0.1/32 scram-sha-256
  - host all all 127.0.0.1/32 scram-sha-256
postgresql:
  listen: 127.0.0.1:{port}
  connect_address: 127.0.0.1:{port}
  data_dir: {folder}/data{number}
  bin_dir: {programs}
  pgpass: {folder}/pgpass{number}
  authentication:
    superuser: {{username: postgres, password: {password}}}
    replication: {{username: replicator, password: {password}}}
  parameters: {{unix_socket_directories: "{folder}"}}
watchdog: {{mode: "off"}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nodes:
    """A leader, a synchronous standby and a replica."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        self.user = pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        folder.mkdir(mode=0o700)
        # The servers' user may not be let into the build folder.
        shutil.copytree(PATRONI, folder / "python", symlinks=True)
        client, peer = free_port(), free_port()
        self.ports = [(free_port(), free_port()) for _ in range(3)]
        for number, (port, rest) in enumerate(self.ports, 1):
            text = SETTINGS.format(number=number, port=port, rest=rest, etcd=client, folder=folder, programs=PROGRAMS, password=PASSWORD)
            (folder / f"n{number}.yml").write_text(text)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", f"{self.user.pw_uid}:{self.user.pw_gid}", folder], check=True)
        self.start("etcd", "/usr/bin/etcd", "--name", "e", "--data-dir", folder / "etcd",
                   "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
                   "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                   "--initial-cluster", f"e=http://127.0.0.1:{peer}")
        for number in (1, 2, 3):
            self.start(f"n{number}", "/usr/bin/python3", "-m", "patroni", folder / f"n{number}.yml")
        deadline = time.monotonic() + 120
        while not self.is_whole():
            if time.monotonic() > deadline:
                fail(f"three nodes are not ready; see {folder}")
            time.sleep(0.2)

    def start(self, name, *argv):
        env = {"LC_ALL": "C.UTF-8", "HOME": str(self.folder), "PYTHONPATH": str(self.folder / "python"),
               "PYTHONDONTWRITEBYTECODE": "1", "PATH": f"{PROGRAMS}:/usr/bin:/bin"}
        other = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        log = open(self.folder / f"{name}.log", "w")
        process = subprocess.Popen([str(word) for word in argv], env=env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **other)
        self.processes.append(process)

    def answers(self, what):
        for port, rest in self.ports:
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{rest}/{what}", timeout=1).close()
                yield port

    def is_whole(self):
        leader, sync, ready = (len(list(self.answers(what))) for what in ("leader", "synchronous", "health"))
        return (leader, sync, ready) == (1, 1, 3)

    def leader(self):
        return next(self.answers("leader"))

    def servers(self):
        return ",".join(f"127.0.0.1:{port}" for port, _ in self.ports)

    def admin(self, database, role="postgres"):
        session = psycopg2.connect(host="127.0.0.1", port=self.leader(), user=role, password=PASSWORD, dbname=database)
        session.autocommit = True
        return session

    def rest(self):
        """Until the servers have written what was done before, which they would else do meanwhile."""
        for port, _ in self.ports:
            session = psycopg2.connect(host="127.0.0.1", port=port, user="postgres", password=PASSWORD, dbname="postgres")
            session.autocommit = True
            session.cursor().execute("CHECKPOINT")
            session.close()

    def stop(self):
        """The agents first, so that none starts its server again."""
        for process in self.processes[::-1]:
            process.kill()
            process.wait()
        self.processes = []
        for number in (1, 2, 3):
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = int((self.folder / f"data{number}/postmaster.pid").read_text().split()[0])
                os.kill(pid, 3)
                while True:
                    os.kill(pid, 0)
                    time.sleep(0.05)


class Host(run.Place):
    """One machine: a folder with a configuration file and a copy."""

    def __init__(self, folder, name):
        folder.mkdir(mode=0o700, exist_ok=True)
        super().__init__(folder)
        self.name, self.db = name, folder / "access.db"
        self.secret = folder / "password"

    def configure(self, servers, database):
        self.secret.write_text(PASSWORD)
        self.secret.chmod(0o600)
        config = self.folder / ".config/access"
        config.mkdir(parents=True, exist_ok=True)
        text = f'[log]\nurl = "postgresql://{self.name}@{servers}/{database}"\npassword_file = "{self.secret}"\nallow_plain = true\n'
        (config / "config.toml").write_text(text)

    def words(self, *words):
        return run.access(self.db, *words)

    def ok(self, *words):
        return self.output(self.words(*words))


class Benches:
    def __init__(self, options, work, nodes):
        self.options, self.work, self.nodes = options, work, nodes
        self.lines, self.made = [], set()
        self.data = run.data_in(options.quick)

    def add(self, what, measured, bound="", holds=True):
        line = f"| {what} | {measured} | {bound} | {('yes' if holds else 'NO') if bound else ''} |"
        self.lines.append(holds)
        print(line, flush=True)

    def seconds(self):
        return 2 if self.options.quick else 20

    def hosts(self, database, names):
        """Hosts that may decide, in an empty database that has the functions of a log."""
        admin = self.nodes.admin("postgres")
        cursor = admin.cursor()
        cursor.execute(f"CREATE DATABASE {database} TEMPLATE template0")
        for name in names:
            if name not in self.made:
                cursor.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
                self.made.add(name)
        admin.close()
        hosts = []
        for name in names:
            host = Host(self.work / f"{database}-{name}", name)
            host.configure(self.nodes.servers(), database)
            hosts.append(host)
        return hosts

    def owner(self, host, database):
        return (f"postgresql://postgres@{self.nodes.servers()}/{database}", "--allow-plain", "--password-file", host.secret)

    def share(self, database, names, source):
        """The same, with this file's log in it. The first host has moved it there; the others have a copy of its file."""
        first, *others = hosts = self.hosts(database, names)
        shutil.copy(source, first.db)
        owner = self.owner(first, database)
        first.ok("log", "init", *owner)
        for host in hosts:
            first.ok("log", "allow", host.name, "decide", *owner)
        start = time.perf_counter()
        first.ok("log", "move", *owner)
        self.moved_in = time.perf_counter() - start
        for host in others:
            self.copy_of(first, host)
        return hosts

    @staticmethod
    def copy_of(first, host):
        with opened(first.db) as source, contextlib.closing(run.sqlite3.connect(host.db)) as copy:
            source.backup(copy)
            copy.execute("UPDATE replica SET host = ?", [host.name])
            copy.commit()
        host.db.chmod(0o600)

    def small(self):
        """A team of a thousand, with one grant."""
        path = self.work / "small.db"
        if not path.exists():
            login = pwd.getpwuid(os.getuid()).pw_name
            subprocess.run([run.FILL, "create", path, login, "0", "0", "0"], check=True)
        return path

    def append(self):
        """appends by the client of the log, without a copy"""
        first, *_ = self.share("appends", ["h1"], self.small())
        bounds = {1: "796/s", 8: "337/s", 32: "p99 250 ms"}
        for writers, bound in bounds.items():
            url = f"postgresql://h1@{self.nodes.servers()}/appends"
            said = first.output([APPEND, url, first.secret, writers, self.seconds()])
            rate, p50, p99 = (float(word) for word in said.split())
            holds = p99 <= 0.25 if writers == 32 else rate >= int(bound.removesuffix("/s"))
            self.add(f"append, {writers} writers: rate, p50, p99", f"{rate:.0f}/s, {ms(p50)}, {ms(p99)}", bound, holds)

    def commands(self):
        """the same through `access request`, each host with a copy"""
        hosts = self.share("commands", [f"h{n}" for n in range(1, 33)], self.small())
        turns = iter(range(1 << 30))
        lock = threading.Lock()

        def ask(host, until, times):
            while time.monotonic() < until:
                with lock:
                    turn = next(turns)
                times.append(host.run(host.words(*run.ask(turn))).wall)

        for writers in (1, 8, 32):
            times, until = [], time.monotonic() + self.seconds()
            threads = [threading.Thread(target=ask, args=(host, until, times)) for host in hosts[:writers]]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            what = f"`request`, {writers} hosts: rate, p50, p99"
            self.add(what, f"{len(times) / self.seconds():.0f}/s, {ms(statistics.median(times))}, {ms(percent(times, 99))}")

    def million(self):
        if "million" not in self.made:
            self.made.add("million")
            self.big = self.share("million", ["m1"], self.data("million-entries"))[0]
        return self.big

    def added(self, database, name):
        """One more host of a log that is in use."""
        (host,) = self.hosts(f"{database}_{name}", [name])
        host.configure(self.nodes.servers(), database)
        self.big.ok("log", "allow", name, "decide", *self.owner(self.big, database))
        return host

    def catchup(self):
        """a copy that lacks a million entries"""
        entries = run.last_seq(self.million().db)
        self.add("`log move` of a million entries", f"{entries / self.moved_in:,.0f}/s")
        host = self.added("million", "m2")
        # It joins the same log when that had few entries: in a database with only its beginning.
        owner = self.owner(host, "million_m2")
        begun = Host(self.work / "beginning", "m1")
        begun.configure(self.nodes.servers(), "million_m2")
        shutil.copy(self.small(), begun.db)
        begun.ok("log", "init", *owner)
        begun.ok("log", "allow", "m2", "decide", *owner)
        with opened(self.big.db) as source:
            bodies = [body for (body,) in source.execute("SELECT body FROM event ORDER BY seq LIMIT 5")]
        session = self.nodes.admin("million_m2")
        session.cursor().execute("SELECT access.import(0, decode(repeat('00', 32), 'hex'), %s); SELECT access.open()", [bodies])
        session.close()
        host.configure(self.nodes.servers(), "million_m2")
        host.ok("log", "join")
        host.configure(self.nodes.servers(), "million")
        self.follow(host, entries, "catching up with a million entries, projected")
        # The same entries as hosts append them: each names its host, and is checked.
        host = Host(self.work / "million-named", "m2")
        host.configure(self.nodes.servers(), "million_m2")
        host.ok("log", "join")
        session = self.nodes.admin("million_m2")
        cursor = session.cursor()
        cursor.execute("SELECT access.close()")
        with opened(self.big.db) as source:
            rows = source.execute("SELECT body FROM event WHERE seq > 5 ORDER BY seq")
            while bodies := [self.named(body) for (body,) in rows.fetchmany(10_000)]:
                end = "SELECT seq, hash FROM access.entry ORDER BY seq DESC LIMIT 1"
                cursor.execute(f"SELECT access.import(seq, hash, %s) FROM ({end}) e", [bodies])
        cursor.execute("SELECT access.open()")
        session.close()
        self.follow(host, entries, "the same, of which each entry names its host")
        if run.one(host.db, "SELECT count(*) FROM event WHERE action = 'entry.void'"):
            fail("entries are void")

    @staticmethod
    def named(body):
        body = re.sub(r'^\{"v":\d+', '{"v":3', body)
        return re.sub(r'("os_user":"[^"]*")', r'\1,"host":"m1","nonce":"0"', body, count=1)

    def follow(self, host, entries, what):
        begun = host.copy(host.db, "begun")
        followed = []
        for _ in range(3):
            host.drop(host.db)
            shutil.copy(begun, host.db)
            self.nodes.rest()
            followed.append(host.run_heavy(host.words("follow", "--once")))
            if run.last_seq(host.db) != entries:
                fail("the copy did not catch up")
        rate = (entries - 5) / statistics.median(each.wall for each in followed)
        self.add(what, f"{rate:,.0f}/s", "80,000/s", rate >= 80_000)
        self.add("its memory", f"{max(each.peak for each in followed) / 1024:.1f} MiB")

    def join(self):
        """a host's first copy, of a million entries"""
        self.million()
        host = self.added("million", "m3")
        self.nodes.rest()
        took = host.run(host.words("log", "join")).wall
        entries = run.last_seq(host.db)
        self.add("`log join` with a million entries", f"{took:.1f} s, {entries / took:,.0f}/s")

    def revoke(self):
        """how long until 50 followers know a revoke"""
        names = [f"f{n}" for n in range(1, 52)]
        first, *others = self.share("revokes", names, self.small())
        rounds = 3 if self.options.quick else 30
        ids = []
        for turn in range(rounds):
            first.ok(*run.ask(turn))
            ids.append(run.one(first.db, "SELECT max(id) FROM request"))
            first.ok("--as", "alice", "approve", ids[-1], "--yes")
        following = [host.start(host.words("follow")) for host in others]
        ages = []
        try:
            with contextlib.ExitStack() as stack:
                copies = [stack.enter_context(opened(host.db)) for host in others]
                self.until_all(copies, run.last_seq(first.db), time.perf_counter(), 60)
                for id in ids:
                    # At any moment of the followers' second.
                    time.sleep(1 + random.random())
                    start = time.perf_counter()
                    first.ok("--as", "alice", "revoke", id, "--yes")
                    ages += self.until_all(copies, run.last_seq(first.db), start, 30)
        finally:
            for _, _, _, pid in following:
                os.kill(pid, 15)
            for _, _, _, pid in following:
                os.waitpid(pid, 0)
        p99 = percent(ages, 99)
        what = f"a revoke is known on 50 followers, {rounds} times, from the start of the command: p50, p99, most"
        self.add(what, f"{ms(statistics.median(ages))}, {ms(p99)}, {ms(max(ages))}", "p99 1,500 ms", p99 <= 1.5)

    @staticmethod
    def until_all(copies, seq, start, seconds):
        """When each copy had this entry."""
        known = {}
        while len(known) < len(copies):
            for number, copy in enumerate(copies):
                if number not in known and copy.execute("SELECT max(seq) FROM event").fetchone()[0] >= seq:
                    known[number] = time.perf_counter() - start
            if time.perf_counter() - start > seconds:
                fail(f"after {seconds} s only {len(known)} followers know entry {seq}")
            time.sleep(0.002)
        return list(known.values())

    def poll_cost(self):
        """Seconds of the server's processor for a poll, and for each entry that it brings."""
        host = self.share("polls", ["p1"], self.data("thousand"))[0]
        with opened(host.db) as copy:
            places = dict(copy.execute("SELECT seq, hash FROM event"))
        last = max(places)
        session = self.nodes.admin("polls", "p1")
        cursor = session.cursor()
        pid = session.info.backend_pid
        session.autocommit = False

        def cost(seq, times):
            def used():
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

            before = used()
            for _ in range(times):
                cursor.execute("SELECT * FROM access.contact(%s, %s, 3)", [seq, psycopg2.Binary(places[seq])])
                cursor.execute("SELECT * FROM access.since(%s, 10000)", [seq])
                cursor.fetchall()
                session.commit()
            return (used() - before) / times

        times = 500 if self.options.quick else 5000
        poll = cost(last, times)
        entries = min(1000, last - 1)
        entry = max(0, cost(last - entries, times // 50) - poll) / entries
        session.close()
        self.add("a poll: the server's processor; for each entry that it brings", f"{poll * 1e6:.0f} µs; {entry * 1e6:.1f} µs")
        return poll, entry

    def relays(self):
        """10,000 followers, with and without relays, simulated with the cost of a poll as measured"""
        poll, entry = self.poll_cost()
        seconds = 10 if self.options.quick else 60
        for rate in (12, 200):
            for relays in (0, 100):
                ages, busy = simulate(poll, entry, rate, relays, seconds)
                how = f"{relays} relays" if relays else "no relays"
                what = f"simulated: 10,000 hosts, {how}, {rate} entries a second: age of a revoke, p50, p99, most; how many of the server's two processors are busy"
                self.add(what, f"{percent(ages, 50):.2f} s, {percent(ages, 99):.2f} s, {max(ages):.2f} s; {busy:.2f}")

    def check(self):
        """`check` on a copy beside `check` in a single file"""
        host = self.share("checks", ["c1"], self.data("thousand"))[0]
        single = host.folder / "single.db"
        shutil.copy(self.data("thousand"), single)
        words = ("check", "connection:c0")
        for db in (host.db, single):
            if "through request" not in host.output(run.access(db, *words)):
                fail("m0 should have connection:c0 by a grant")

        def beside(what):
            taken = []
            for turn in range(25 if self.options.quick else 405):
                pair = [host.db, single] if turn % 2 else [single, host.db]
                walls = {db: host.run(run.access(db, *words)).wall for db in pair}
                taken.append((walls[host.db], walls[single]))
            a, b = (statistics.median(side) for side in zip(*taken[5:]))
            self.add(f"{what}; in a single file", f"{ms(a)}; {ms(b)}: {a / b:.2f}", "1.05", a / b <= 1.05)

        following = host.start(host.words("follow"))
        time.sleep(2)
        beside("`check` on a copy that follows")
        os.kill(following[3], 15)
        os.waitpid(following[3], 0)
        self.nodes.stop()
        if host.end(host.start(host.words("check", "connection:c0", "--fresh")), code=69).wall > 5:
            fail("a server that is down held up a command")
        time.sleep(11)
        beside("`check` on a copy while PostgreSQL is down, \"as of\"")


# The last one stops the servers.
PARTS = ["append", "commands", "catchup", "join", "revoke", "relays", "check"]


def percent(times, part):
    return sorted(times)[min(len(times) - 1, len(times) * part // 100)]


class Server:
    """Serves polls in turn on two processors, as the machine of the figures has."""

    def __init__(self, poll, entry, end):
        self.poll, self.entry, self.end = poll, entry, end
        self.free, self.busy = [0.0, 0.0], 0.0

    def serve(self, now, entries):
        """When a poll is begun, whose answer is from then, and when it is answered."""
        begun = max(now, heapq.heappop(self.free))
        cost = self.poll + self.entry * entries
        self.busy += max(0, min(begun + cost, self.end) - begun)
        heapq.heappush(self.free, begun + cost)
        return begun, begun + cost


def followers(server, polls, rate, seconds, known):
    """When each follower knows each revoke. Each asks a second after its last answer. `known`: when the server knows each, in
    order."""
    results = [[] for _ in polls]
    queue = [(at, number, 0.0) for number, at in enumerate(polls)]
    heapq.heapify(queue)
    while queue:
        now, number, last = heapq.heappop(queue)
        if now > seconds:
            continue
        begun, answered = server.serve(now, rate * (now - last))
        result = results[number]
        while len(result) < len(known) and known[len(result)] <= begun:
            result.append(answered)
        heapq.heappush(queue, (answered + 1, number, now))
    return results


def simulate(poll, entry, rate, relays, seconds):
    """The ages of a revoke on each of 10,000 hosts, and how many processors of the server are busy. The same seed, the same
    result."""
    chance = random.Random(15)
    revokes = sorted(chance.uniform(seconds / 6, seconds * 4 / 6) for _ in range(20))
    begin = lambda count: [chance.random() for _ in range(count)]
    server = Server(poll, entry, seconds)
    if relays == 0:
        results = followers(server, begin(10_000), rate, seconds, revokes)
    else:
        results = []
        for known in followers(server, begin(relays), rate, seconds, revokes):
            results += followers(Server(poll, entry, seconds), begin(10_000 // relays), rate, seconds, known)
    # What is not known at the end is as old as that.
    ages = [at - since for result in results for at, since in zip(result + [seconds] * (len(revokes) - len(result)), revokes)]
    return ages, server.busy / seconds


def main():
    parser = argparse.ArgumentParser(prog="benches/fleet.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = "; ".join(f"{part}: {getattr(Benches, part).__doc__}" for part in PARTS)
    parser.add_argument("--only", metavar="PART", action="append", choices=PARTS, help=f"only this part; can be given again. {parts}")
    parser.add_argument("--quick", action="store_true", help="little data and short runs: to try the benchmarks, not to measure")
    options = parser.parse_args()
    os.umask(0o077)
    BENCHES.mkdir(mode=0o700, parents=True, exist_ok=True)
    work = BENCHES / f"fleet-{os.getpid()}"
    work.mkdir(mode=0o700)
    servers = pathlib.Path(f"/tmp/access-bench-{os.getpid()}")
    # As installed: see run.py.
    run.ACCESS = shutil.copy(run.ACCESS, work)
    print("\n".join(run.machine()))
    version = subprocess.run([PROGRAMS / "postgres", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    print(f"{version}; three nodes, one synchronous standby, on loopback")
    if options.quick:
        print("\nWith little data: these numbers mean nothing.")
    nodes = None
    try:
        nodes = Nodes(servers)
        print("\n| what | measured | bound | holds |\n| --- | --- | --- | --- |", flush=True)
        benches = Benches(options, work, nodes)
        for part in PARTS:
            if part in (options.only or PARTS):
                start = time.monotonic()
                getattr(benches, part)()
                print(f"{part}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    finally:
        if nodes:
            nodes.stop()
        shutil.rmtree(servers, ignore_errors=True)
        shutil.rmtree(work)
    if not options.quick and not all(benches.lines):
        sys.exit(1)


if __name__ == "__main__":
    main()
