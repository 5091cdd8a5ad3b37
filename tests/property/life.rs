//! Months of a team's life on several hosts, by a seed: people do what the steps say, cron pauses, hosts are cut off, restart and
//! have wrong wall clocks, processes are killed with their line cut at any message, and mail is not taken. In one life of four
//! the log is in a file alone, and its clock is set forward and back.
//!
//! The hosts are real copies with a real PostgreSQL, whose clock is set. After each step the model of `main` has to agree with
//! what was answered and recorded. `ACCESS_DAYS` sets how many days there are in all, and `ACCESS_LIFE_DAYS` how many a life has;
//! a failure prints the seed of its life, which `ACCESS_SEED` replays.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Command;

use access::deliver::Transports;
use access::domain::replica::ContactAge;
use access::error::Kind;
use access::service::Check;
use access::store::Error;
use access::subscribers::{Feed, deliver};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestCaseError, TestRng, TestRunner};
use rusqlite::Connection;

use crate::line::{Side, Trouble};
use crate::machines::{Machine, Server, SharedLog, Way};
use crate::mail::{MailServer, Mood};
use crate::model::{Model, Stands};
use crate::steps::{Step, Who, steps};
use crate::team::{DAY, EVER, Edit, HOSTS, HOUR, PEOPLE, RESOURCES};
use crate::{Checked, Planned, Run, START, Tally, contents, machines, number, resource, template};

/// The host that only looks, and is never in trouble.
const WATCH: usize = 3;
const MINUTE: i64 = 60;
/// In how many of a hundred steps the line is cut, on average.
const CUTS: u64 = 4;
/// Kinds of a failure that is the network's, or of a process that was killed.
const FAULTS: [Kind; 4] = [Kind::Unavailable, Kind::Io, Kind::Busy, Kind::Failure];
/// Notifications that may be dropped because they are no longer relevant, or by default are in digests only.
const PASSING: [&str; 6] = [
    "request.submitted",
    "request.changed",
    "request.reminder",
    "request.decided",
    "request.withdrawn",
    "access.expiring",
];
/// Notifications that are dropped for who does not see everything any more.
const FOR_ADMINS: [&str; 5] =
    ["access.emergency", "team.changed", "provisioning.failed", "revoke.failed", "drift.found"];

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, many: usize) -> usize {
        (self.next() % many as u64) as usize
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// Seconds, from `least` on, and less than `most`.
    fn time(&mut self, least: i64, most: i64) -> i64 {
        least + self.below((most - least) as usize) as i64
    }

    fn person(&mut self) -> &'static str {
        PEOPLE[self.below(PEOPLE.len())]
    }
}

/// A step of which the host does not know what became of it.
struct Deferred {
    planned: Planned,
    /// What was said.
    kind: Kind,
    is_killed: bool,
}

struct Life<'t> {
    /// Its store is the one of the host in use.
    run: Run<'t>,
    hosts: Vec<Machine>,
    here: usize,
    deferred: Vec<Option<Deferred>>,
    /// None: the log is in a file alone.
    log: Option<SharedLog>,
    mail: &'t MailServer,
    dice: Dice,
    day_end: i64,
    days: u64,
    steps: usize,
    /// Cron does not run until then.
    gap_until: i64,
    /// What was due until then may be recorded later than within a minute.
    hindered_until: i64,
    /// Nothing goes wrong any more.
    is_calm: bool,
    /// Notifications that were sent, or dropped for a reason.
    accounted: BTreeSet<i64>,
    /// Whether a message may have been sent twice.
    may_repeat: bool,
    preferring: BTreeSet<&'static str>,
}

impl Model {
    /// When something is due.
    fn moments(&self) -> Vec<i64> {
        let mut moments = Vec::new();
        for asked in &self.requests {
            match asked.stands {
                Stands::Pending => moments.extend([Some(asked.lapses), asked.reminds].into_iter().flatten()),
                Stands::Granted => {
                    moments.push(asked.ends);
                    moments.extend((!asked.begun).then_some(asked.starts));
                    let length = asked.ends.saturating_sub(asked.starts);
                    moments.extend((!asked.warned).then(|| asked.ends - if length > HOUR { HOUR } else { length / 4 }));
                }
                Stands::Decided | Stands::Over => {}
            }
        }
        let open = self.reviews.iter().filter(|review| !review.closed);
        moments.extend(open.flat_map(|review| [Some(review.due), review.reminds].into_iter().flatten()));
        moments.retain(|at| *at < EVER - DAY);
        moments
    }
}

fn failed(why: impl std::fmt::Debug) -> TestCaseError {
    TestCaseError::fail(format!("{why:?}"))
}

impl<'t> Life<'t> {
    fn begin(folder: &Path, seed: u64, server: &'t Server, mail: &'t MailServer, tally: &'t Tally) -> Life<'t> {
        let template = template(folder);
        let mut hosts: Vec<Machine> = HOSTS.into_iter().map(|name| Machine::new(name, folder, START)).collect();
        for host in &hosts {
            std::fs::DirBuilder::new().mode(0o700).create(host.path.parent().unwrap()).unwrap();
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&hosts[0].path).unwrap();
        file.write_all(&template).unwrap();
        machines::enter(None);
        let mut store = access::store::Store::open(&hosts[0].path).unwrap();
        let mut log = None;
        if seed.is_multiple_of(4) {
            hosts.truncate(1);
        } else {
            let url = server.url_of(seed, hosts[0].name);
            machines::enter(Some(machines::Surroundings { url, clocks: hosts[0].clocks(START), dies_with: None }));
            let (shared, copy) = server.share(seed, store, START);
            store = copy;
            for host in &mut hosts[1..] {
                machines::enter(Some(host.surroundings(&shared, START)));
                host.store = Some(host.join());
            }
            log = Some(shared);
        }
        mail.forget_all();
        Life {
            run: Run::of(store, tally),
            deferred: hosts.iter().map(|_| None).collect(),
            hosts,
            here: 0,
            log,
            mail,
            dice: Dice(seed),
            day_end: START + DAY,
            days: 0,
            steps: 0,
            gap_until: 0,
            hindered_until: 0,
            is_calm: false,
            accounted: BTreeSet::new(),
            may_repeat: false,
            preferring: BTreeSet::new(),
        }
    }

    // Hosts

    /// Goes to this host.
    fn at(&mut self, host: usize) {
        if host != self.here {
            let store = self.hosts[host].store.take().unwrap();
            let before = std::mem::replace(&mut self.run.store, store);
            self.hosts[self.here].store = Some(before);
            self.here = host;
        }
        self.surround();
    }

    fn surround(&self) {
        let host = &self.hosts[self.here];
        machines::enter(self.log.as_ref().map(|log| host.surroundings(log, self.run.clock)));
    }

    /// Another process, which reaches the log this way.
    fn reopen(&mut self, host: usize, way: Way) {
        self.at(host);
        self.hosts[host].way = way;
        self.surround();
        self.run.store = self.hosts[host].open();
    }

    fn is_cut(&self, host: usize) -> bool {
        self.hosts[host].way == Way::Cut
    }

    /// A host on which people and cron work.
    fn some_host(&mut self) -> usize {
        self.dice.below(self.hosts.len().min(WATCH))
    }

    fn reachable_host(&mut self) -> Option<usize> {
        let hosts: Vec<usize> = (0..self.hosts.len().min(WATCH)).filter(|host| !self.is_cut(*host)).collect();
        (!hosts.is_empty()).then(|| hosts[self.dice.below(hosts.len())])
    }

    fn follow(&self) -> Checked {
        if self.log.is_some() { self.run.store.follow().map(drop).map_err(failed) } else { Ok(()) }
    }

    /// Whether this copy has what was not looked at.
    fn has_news(&self) -> Result<bool, TestCaseError> {
        let page = self.run.store.read(|read| -> Result<_, Error> { read.entries_after(self.run.log) });
        Ok(!page.map_err(failed)?.rows.is_empty())
    }

    fn set_clock(&mut self, now: i64) {
        self.run.clock = now;
        if let Some(log) = &mut self.log {
            log.set_clock(now);
        }
        self.surround();
    }

    /// The line of this host will be cut at a message, and its process perhaps killed then.
    fn begin_trouble(&mut self, host: usize) {
        self.hosts[host].is_killed = self.dice.percent(50);
        let side = if self.dice.percent(50) { Side::Host } else { Side::Server };
        // Mostly near the append and its commit, which come last.
        let (first, many) = match (side, self.dice.percent(60)) {
            (Side::Host, true) => (12, 8),
            (Side::Host, false) => (0, 12),
            (Side::Server, true) => (32, 24),
            (Side::Server, false) => (0, 30),
        };
        let place = first + self.dice.below(many);
        self.log.as_ref().unwrap().plan((side, place, Trouble::Cut));
        self.reopen(host, Way::Line);
    }

    /// Whether it came about.
    fn end_trouble(&mut self, host: usize) -> bool {
        let came = self.log.as_ref().unwrap().clear();
        let was_killed = std::mem::take(&mut self.hosts[host].is_killed);
        if came {
            self.run.tally.count(if was_killed { "a process killed" } else { "a line cut" });
        }
        if came && was_killed && self.dice.percent(50) {
            self.hosts[host].restart(self.run.clock);
        }
        self.reopen(host, Way::Direct);
        let name = self.hosts[host].name;
        // What was on its way has arrived.
        self.log.as_mut().unwrap().wait_until_gone(name);
        came
    }

    // Steps

    /// A step on a host, which may be cut off, or get into trouble meanwhile.
    fn act(&mut self, host: usize, step: &Step) -> Checked {
        let Some(step) = self.run.meant(step) else { return Ok(()) };
        let is_cut = self.is_cut(host);
        if !is_cut {
            self.settle(host)?;
        }
        self.at(host);
        // `access follow` did this within the last second. Other steps do without it: they catch up when they decide.
        if !is_cut && matches!(step, Step::Approve { .. } | Step::Apply { .. }) {
            self.follow()?;
        }
        let is_troubled = self.log.is_some() && !is_cut && !self.is_calm && self.dice.percent(CUTS);
        let planned = self.run.planned(&step);
        if let (Step::Prefer { .. }, Some(who)) = (&step, planned.there.who) {
            self.preferring.insert(who);
        }
        if is_troubled {
            self.begin_trouble(host);
        }
        let is_killed = self.hosts[host].is_killed;
        let outcome = self.run.carry_out(planned.there.login, &step, planned.place);
        let came = is_troubled && self.end_trouble(host);
        // Who may send a team file is first asked of the copy. The line can be cut when the refusal is recorded.
        let is_early = |kind| kind == Kind::Refused && matches!(step, Step::Apply { .. });
        match outcome {
            Ok(()) if is_cut => Err(failed("a host that is cut off changes something")),
            Err(kind) if is_cut => {
                let is_right = kind == Kind::Unavailable || planned.against.contains(&kind) || is_early(kind);
                prop_assert!(
                    is_right,
                    "a host that is cut off says {kind:?}: {}",
                    self.run.tally.last_failure.borrow()
                );
                self.run.tally.count("a step while cut off");
                Ok(())
            }
            Err(kind) if came && (FAULTS.contains(&kind) || is_early(kind) && planned.against.contains(&kind)) => {
                self.find_out(host, Deferred { planned, kind, is_killed })
            }
            outcome => self.run.concluded(planned, outcome),
        }
    }

    /// What became of a step, if it is known by now.
    fn find_out(&mut self, host: usize, deferred: Deferred) -> Checked {
        self.at(WATCH);
        self.follow()?;
        if self.has_news()? {
            return self.was_recorded(deferred);
        }
        self.run.tally.count("a step of unknown outcome");
        self.deferred[host] = Some(deferred);
        Ok(())
    }

    /// The host comes back to what it began.
    fn settle(&mut self, host: usize) -> Checked {
        let Some(deferred) = self.deferred[host].take() else { return Ok(()) };
        self.at(host);
        self.follow()?;
        let pending = self.run.store.read(|read| read.pending_entries()).map_err(failed)?;
        prop_assert!(pending.is_none(), "it is not settled: {pending:?}");
        if self.has_news()? { self.was_recorded(deferred) } else { Ok(()) }
    }

    fn was_recorded(&mut self, deferred: Deferred) -> Checked {
        let Deferred { planned, kind, is_killed } = deferred;
        let is_unknown = is_killed || ![Kind::Unavailable, Kind::Busy].contains(&kind);
        prop_assert!(is_unknown, "{:?} gave {kind:?}, as if nothing was done, and it is recorded", planned.step);
        self.run.tally.count("recorded after all");
        let refused = (!planned.against.is_empty()).then_some(Kind::Refused);
        let expected = self.run.happens(planned, refused);
        self.run.recorded(expected)
    }

    fn take_step(&mut self, step: &Step) -> Checked {
        let now = self.run.clock;
        match step {
            Step::Pass(by) if *by >= 0 => return self.advance(now + by.min(&DAY)),
            // The shared log's clock goes forward.
            Step::Pass(by) => {
                if self.log.is_none() {
                    self.hindered_until = self.hindered_until.max(self.run.now() + MINUTE);
                    self.set_clock(now + by);
                }
                return Ok(());
            }
            Step::Next(from) => {
                let next = self.run.model.moments().into_iter().map(|at| at + from).filter(|at| *at > now).min();
                return next.filter(|at| *at < now + DAY).map_or(Ok(()), |at| self.advance(at));
            }
            _ => {}
        }
        let host = self.some_host();
        self.act(host, step)?;
        if self.is_cut(host) {
            self.is_right_while_cut_off(host)?;
        }
        self.steps += 1;
        if let Some(host) = self.reachable_host() {
            self.settle(host)?;
            self.at(host);
            self.follow()?;
            self.run.look(self.steps)?;
        }
        let most = if self.dice.percent(40) { 4 * HOUR } else { 10 * MINUTE };
        let passes = self.dice.time(0, most);
        self.advance(self.run.clock + passes)
    }

    // Time

    /// Time passes, and cron runs each minute in which something is due.
    fn advance(&mut self, to: i64) -> Checked {
        loop {
            let now = self.run.clock;
            let ticks = self.run.model.moments().into_iter().map(|at| (at + MINUTE - 1).div_euclid(MINUTE) * MINUTE);
            let others = [self.gap_until, self.day_end].into_iter().chain(self.hosts.iter().map(|host| host.cut_until));
            let Some(next) = ticks.chain(others).filter(|at| now < *at && *at <= to).min() else { break };
            self.set_clock(next);
            for host in 0..self.hosts.len() {
                if self.is_cut(host) && self.hosts[host].cut_until <= next {
                    self.reopen(host, Way::Direct);
                }
            }
            if next >= self.gap_until {
                self.cron()?;
            }
            if next >= self.day_end {
                self.day_end += DAY;
                self.days += 1;
                self.end_day()?;
            }
        }
        if to > self.run.clock {
            self.set_clock(to);
        }
        Ok(())
    }

    fn cron(&mut self) -> Checked {
        let now = self.run.clock;
        let Some(host) = self.reachable_host() else {
            let heals = self.hosts[..WATCH].iter().map(|host| host.cut_until).min();
            self.hindered_until = self.hindered_until.max(heals.unwrap_or(now));
            let host = self.some_host();
            return self.act(host, &Step::Expire);
        };
        let granted = self.run.model.requests.iter().filter(|asked| asked.stands == Stands::Granted);
        let late: Vec<i64> = granted.map(|asked| asked.ends).filter(|ends| *ends <= now - MINUTE).collect();
        let is_in_time = self.run.is_clock_wrong() || late.iter().all(|ends| *ends <= self.hindered_until);
        prop_assert!(is_in_time, "ends at {late:?} are not recorded at {now}, and cron could run");
        self.act(host, &Step::Expire)?;
        let again = match (self.deferred[host].is_some(), self.run.is_clock_wrong()) {
            (_, true) => Some(now + HOUR),
            (true, _) => Some(now + MINUTE),
            (false, false) => None,
        };
        if let Some(again) = again {
            self.gap_until = again;
            self.hindered_until = self.hindered_until.max(again);
            return Ok(());
        }
        if self.dice.percent(15) {
            let other = self.some_host();
            self.act(other, &Step::Expire)?;
        }
        Ok(())
    }

    fn end_day(&mut self) -> Checked {
        if !self.is_calm {
            self.make_trouble();
        }
        for host in 0..self.hosts.len() {
            if self.is_cut(host) {
                self.is_right_while_cut_off(host)?;
            }
        }
        let Some(host) = self.reachable_host() else { return Ok(()) };
        self.deliver(host)?;
        if !self.is_cut(0) {
            self.settle(0)?;
            self.at(0);
            self.follow()?;
            self.run.reconcile(self.days as usize)?;
        }
        self.copies_are_equal()?;
        self.at(host);
        let what: Vec<&str> = (0..3).map(|_| RESOURCES[self.dice.below(13)]).collect();
        for who in PEOPLE {
            what.iter().try_for_each(|what| self.run.agrees(who, what))?;
        }
        if self.days.is_multiple_of(5) {
            self.run.proves()?;
            self.run.remembers()?;
        }
        Ok(())
    }

    /// What may go wrong from this day on.
    fn make_trouble(&mut self) {
        let now = self.run.clock;
        if self.dice.percent(10) {
            self.gap_until = now + self.dice.time(MINUTE, 12 * HOUR);
            self.hindered_until = self.hindered_until.max(self.gap_until);
            self.run.tally.count("a pause of cron");
        }
        if self.log.is_none() {
            return;
        }
        let host = self.some_host();
        if self.dice.percent(20) && !self.is_cut(host) {
            self.hosts[host].cut_until = now + self.dice.time(10 * MINUTE, 36 * HOUR);
            self.reopen(host, Way::Cut);
            self.run.tally.count("a host cut off");
        }
        let host = self.some_host();
        if self.dice.percent(10) {
            self.hosts[host].skew = self.dice.time(-HOUR, HOUR);
            self.run.tally.count("a wall clock set");
        }
        if self.dice.percent(8) {
            self.hosts[host].restart(now);
            let way = self.hosts[host].way;
            self.reopen(host, way);
            self.run.tally.count("a host restarted");
        }
        self.at(WATCH);
    }

    // What has to hold

    /// A host that is cut off says what was so by the entries that it has, at this moment, and after a while nothing.
    fn is_right_while_cut_off(&mut self, host: usize) -> Checked {
        self.at(host);
        let known = |read: &access::store::Read<'_>| -> Result<_, Error> {
            Ok((read.head()?.seq, read.replica()?, read.last_time()?))
        };
        let (seq, replica, last) = self.run.store.read(known).map_err(failed)?;
        let (replica, clocks) = (replica.unwrap(), machines::clocks().map_err(failed)?);
        let now = replica.contact.now(&clocks).unwrap().max(last).unix();
        let age = replica.contact.age(&clocks);
        for _ in 0..4 {
            let (name, what) = (self.dice.person(), RESOURCES[self.dice.below(RESOURCES.len())]);
            let then = &self.run.pasts.iter().rev().find(|then| then.seq <= seq).unwrap().model;
            let login = then.team.members.get(name).map_or(name, |member| member.login);
            let check = Check { resource: resource(what), user: None, login: None, freshness: None, at: None };
            let outcome = self.run.answer(login, check);
            self.run.tally.checked();
            match (outcome, then.team.of_login(login)) {
                (Ok(view), Some(who)) => {
                    let hours = then.team.backend.len() as i64;
                    let most = if hours > 1 { hours * HOUR } else { 15 * MINUTE };
                    // `offline_for` of a connection in production is 0.
                    let is_strict = then
                        .team
                        .connections
                        .iter()
                        .any(|(name, production)| *production && what.strip_prefix("connection:") == Some(*name));
                    let most = if is_strict { 10 } else { most };
                    let is_known = then.team.active(who);
                    prop_assert!(
                        !is_known || age <= ContactAge::Milliseconds(most * 1000),
                        "{what} at {age:?}: {view:?}"
                    );
                    let holds = then.until(who, what, now).is_some();
                    prop_assert_eq!(view.allowed, holds, "{} on {} while cut off", who, what);
                    self.run.tally.count("an answer while cut off");
                }
                (Ok(view), None) => return Err(failed(view)),
                (Err(Kind::Unavailable), _) => {
                    prop_assert!(age > ContactAge::Milliseconds(10_000), "no answer at {age:?}");
                    self.run.tally.count("no answer while cut off");
                }
                (Err(kind), Some(_)) => {
                    prop_assert!(kind == Kind::NotFound && !then.team.has(what), "{what}: {kind:?}")
                }
                (Err(kind), None) => prop_assert_eq!(kind, Kind::Refused),
            }
        }
        Ok(())
    }

    /// The copies that reach the log have the same entries, and at times their whole contents are compared.
    fn copies_are_equal(&mut self) -> Checked {
        let mut heads = Vec::new();
        let mut tables = Vec::new();
        for host in 0..self.hosts.len() {
            if self.is_cut(host) {
                continue;
            }
            self.settle(host)?;
            self.at(host);
            self.follow()?;
            let head = self.run.store.read(|read| -> Result<_, Error> { read.head() }).map_err(failed)?;
            prop_assert_eq!(head.seq, self.run.log, "{} has another end", self.hosts[host].name);
            heads.push(head.hash);
            if self.days.is_multiple_of(10) {
                tables.push(contents::of_log(&Connection::open(&self.hosts[host].path).unwrap()));
            }
        }
        prop_assert!(heads.windows(2).all(|pair| pair[0] == pair[1]), "the copies have other hashes");
        for pair in tables.windows(2) {
            for (name, rows) in &pair[0] {
                prop_assert_eq!(rows, &pair[1][name], "the table {}", name);
            }
        }
        Ok(())
    }

    fn deliver(&mut self, host: usize) -> Checked {
        self.settle(host)?;
        self.at(host);
        let mood = match self.dice.below(10) {
            _ if self.is_calm => Mood::Well,
            0 => Mood::Down,
            1 => Mood::Defers(self.dice.person()),
            2 => Mood::Refuses(self.dice.person()),
            3 => Mood::Forgets,
            _ => Mood::Well,
        };
        self.mail.set(mood);
        let is_troubled = self.log.is_some() && !self.is_calm && self.dice.percent(3 * CUTS);
        if is_troubled {
            self.begin_trouble(host);
        }
        let sent = {
            let run = &self.run;
            let feed = Feed { store: &run.store, clock: &|replica| run.time_of(replica) };
            deliver(&feed, &mut Transports::configured().unwrap(), &mut |_| Ok(()))
        };
        let came = is_troubled && self.end_trouble(host);
        self.may_repeat |= came || mood == Mood::Forgets;
        match sent {
            Ok(sent) => {
                if sent.view.failed > 0 {
                    self.run.tally.count(format!("mail: {mood:?}").split('(').next().unwrap());
                }
            }
            Err(why) => prop_assert!(came, "delivery: {why}"),
        }
        self.at(host);
        self.account()
    }

    /// Each notification waits here, or was sent, or there is a reason why not.
    fn account(&mut self) -> Checked {
        let conn = Connection::open(&self.hosts[self.here].path).unwrap();
        let mut waiting = conn.prepare("SELECT notification FROM outbox WHERE subscriber = 'email'").unwrap();
        let waiting = waiting.query_map([], |row| row.get(0)).unwrap();
        let waiting: BTreeSet<i64> = waiting.map(Result::unwrap).collect();
        let mut all = conn.prepare("SELECT id, seq, member, kind FROM notification").unwrap();
        let all = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
        let all: Vec<(i64, i64, String, String)> = all.map(Result::unwrap).collect();
        let taken = self.mail.taken.lock().unwrap();
        for (id, seq, member, kind) in all {
            if waiting.contains(&id) || self.accounted.contains(&id) {
                continue;
            }
            let is_same = self.run.witness.since.get(&member).is_some_and(|since| *since <= seq);
            let is_reachable = self.run.model.team.active(&member) && is_same;
            let in_digest = self.preferring.contains(member.as_str()) && taken.digests.contains(&member);
            let team = &self.run.model.team;
            let sees_all = self.run.model.is_admin(&member, self.run.now()) || team.is_auditor(&member);
            let may_pass = PASSING.contains(&kind.as_str()) || !sees_all && FOR_ADMINS.contains(&kind.as_str());
            let is_accounted = taken.alone.contains_key(&id) || !is_reachable || in_digest || may_pass;
            prop_assert!(
                is_accounted,
                "notification {id} ({kind} of entry {seq}) to {member} does not wait, and was not sent"
            );
            self.accounted.insert(id);
        }
        let repeated = taken.alone.iter().find(|(_, times)| **times > 1);
        prop_assert!(self.may_repeat || repeated.is_none(), "sent twice: {repeated:?}");
        Ok(())
    }

    /// Everything heals, and what waits is sent.
    fn end(&mut self) -> Checked {
        self.is_calm = true;
        for host in 0..self.hosts.len() {
            if self.is_cut(host) {
                self.hosts[host].cut_until = 0;
                self.reopen(host, Way::Direct);
            }
        }
        if self.run.is_clock_wrong() {
            self.act(0, &Step::AcceptClock { who: Who::Owner })?;
        }
        (self.gap_until, self.hindered_until) = (0, self.run.now() + DAY);
        // The last pause between attempts is half a day, and a little more.
        for round in 0..6 {
            self.advance(self.run.clock + 15 * HOUR)?;
            let host = round % self.hosts.len().min(WATCH);
            self.deliver(host)?;
        }
        self.copies_are_equal()?;
        for host in 0..self.hosts.len() {
            self.at(host);
            self.run.store.take_outstanding_if_reachable().map_err(failed)?;
            let conn = Connection::open(&self.hosts[host].path).unwrap();
            let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
            let waiting = count("SELECT count(*) FROM outbox WHERE NOT dead");
            prop_assert_eq!(waiting, 0, "something still waits on {}", self.hosts[host].name);
            let queued = count("SELECT count(*) FROM notification");
            let once = count("SELECT count(*) FROM (SELECT DISTINCT seq, member, kind FROM notification)");
            let named: usize = self.run.entries()?.iter().map(|entry| entry.recipients.len()).sum();
            prop_assert_eq!((queued, once), (named as i64, named as i64), "notifications of {}", self.hosts[host].name);
            self.run.proves()?;
        }
        let host = self.some_host();
        self.at(host);
        self.run.finish()
    }

    fn live(&mut self, seed: u64, days: u64) -> Checked {
        self.run.recorded(vec![("team.initialized", None), ("team.applied", None)])?;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config { failure_persistence: None, ..Config::default() };
        let rng = TestRng::from_seed(config.rng_algorithm, &bytes);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let stories = steps();
        while self.days < days {
            let mut story = stories.new_tree(&mut runner).unwrap().current();
            if self.dice.percent(30) {
                story.insert(0, Step::Apply { who: Who::Owner, edits: vec![Edit::Restore] });
            }
            for step in &story {
                let day = self.days;
                self.take_step(step).map_err(|why| TestCaseError::fail(format!("day {day}, {step:?}: {why}")))?;
            }
            let night = self.dice.time(HOUR, 14 * HOUR);
            self.advance(self.run.clock + night).map_err(|why| TestCaseError::fail(format!("at night: {why}")))?;
        }
        self.end().map_err(|why| TestCaseError::fail(format!("at the end: {why}")))
    }
}

/// Runs lives in this process, whose home folder is its own.
fn lives(home: &Path) {
    let mail = MailServer::start();
    let config = home.join(".config/access");
    std::fs::create_dir_all(&config).unwrap();
    let text = format!(
        "from = \"access@acme.example\"\n[smtp]\nhost = \"127.0.0.1\"\nport = {}\nencryption = \"none\"\nhello = \"host.acme.example\"\n",
        mail.port
    );
    std::fs::write(config.join("config.toml"), text).unwrap();
    let server = Server::start();
    let memory = Path::new("/dev/shm");

    let fresh = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 >> 10;
    let first = number("ACCESS_SEED").unwrap_or_else(fresh);
    let each = number("ACCESS_LIFE_DAYS").unwrap_or(10);
    let all = number("ACCESS_DAYS").unwrap_or(20);
    let tally = Tally::default();
    let (mut days, mut steps, mut messages, mut entries) = (0, 0, 0, 0);
    let begun = std::time::Instant::now();
    for seed in (first..).take(all.div_ceil(each) as usize) {
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let mut life = Life::begin(folder.path(), seed, &server, &mail, &tally);
        let lived = life.live(seed, each);
        if let Err(why) = lived {
            panic!("replay it with ACCESS_SEED={seed} ACCESS_DAYS={each} ACCESS_LIFE_DAYS={each}: {why}");
        }
        days += life.days;
        steps += life.steps;
        entries += life.run.log;
        messages += mail.taken.lock().unwrap().messages;
        let Life { run, hosts, log, .. } = life;
        drop((run, hosts));
        if let Some(log) = log {
            server.drop_log(log);
        }
        let (checks, took) = (tally.checks.get(), begun.elapsed().as_secs());
        let _ = writeln!(
            std::io::stderr(),
            "seeds {first} to {seed}: {days} days in {took} s, {steps} steps, {entries} entries, {checks} checks, {messages} mails"
        );
    }
    let _ = writeln!(std::io::stderr(), "{:?}", tally.seen.borrow());
}

#[test]
fn months_of_a_teams_life_on_several_hosts() {
    const HERE: &str = "ACCESS_LIFE_HOME";
    if let Some(home) = std::env::var_os(HERE) {
        return lives(Path::new(&home));
    }
    let home = tempfile::tempdir().unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "life::months_of_a_teams_life_on_several_hosts", "--nocapture"]);
    let ended = again.env(HERE, home.path()).env("HOME", home.path()).env_remove("XDG_CONFIG_HOME").status().unwrap();
    assert!(ended.success(), "see above");
}
