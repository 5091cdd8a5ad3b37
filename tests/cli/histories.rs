//! Processes at random commands, and an independent check of what came of it: from the rules, from what each process saw and when,
//! from the exported log, and from the inboxes. It shares no code with the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

/// Who may approve.
pub const ADMINS: usize = 8;
pub const MEMBERS: usize = 16;
const PROCESSES: u64 = 32;
/// How long a command may take: the program gives up its wait for others after 10 seconds, with 75.
const MOST: f64 = 15.0;
/// What can be asked for, and how many approvals it takes.
const RESOURCES: [(&str, usize); 6] = [
    ("connection:vault0", 2),
    ("connection:vault1", 2),
    ("connection:plain0", 1),
    ("connection:plain1", 1),
    ("connection:stale", 1),
    ("connection:free", 0),
];

/// Everybody, the owner first.
pub fn people() -> Vec<String> {
    let admins = (0..ADMINS).map(|number| format!("ada{number}"));
    std::iter::once("ana".to_owned()).chain(admins).chain((0..MEMBERS).map(|number| format!("bob{number}"))).collect()
}

pub fn team() -> String {
    let mut team = "[team]\nname = \"crowd\"\n".to_owned();
    for name in people() {
        let role = if name == "ana" {
            "owner"
        } else if name.starts_with("ada") {
            "admin"
        } else {
            "member"
        };
        writeln!(team, "[members.{name}]\nrole = \"{role}\"").unwrap();
    }
    for (resource, _) in RESOURCES {
        writeln!(team, "[connections.{}]\nenvironment = \"production\"", &resource["connection:".len()..]).unwrap();
    }
    team + r#"
[[rules]]
name = "two for a vault"
match = { resources = ["connection:vault*"] }
approvers = ["role:admin"]
approvals = 2

[[rules]]
name = "soon stale"
match = { resources = ["connection:stale"] }
lapse_after = "2s"

[[rules]]
name = "free"
match = { resources = ["connection:free"] }
auto_approve = true
"#
}

/// What one process did and saw.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Seconds since 1970.
    pub begun: f64,
    pub ended: f64,
    pub login: String,
    pub args: Vec<String>,
    pub code: i32,
    pub out: Value,
    pub err: String,
}

impl Seen {
    fn did(&self, verb: &str) -> bool {
        self.args[0] == verb
    }

    /// The request that it names.
    fn named(&self) -> i64 {
        self.args[1].parse().unwrap()
    }
}

/// Everything that is known afterwards.
#[derive(Debug, Clone)]
pub struct History {
    pub seen: Vec<Seen>,
    /// The exported log.
    pub log: Vec<Value>,
    /// Of each member, read or not.
    pub inboxes: BTreeMap<String, Vec<Value>>,
}

/// Runs a command as this user: its code, its output, and its errors.
pub type Program = dyn Fn(&str, &[&str]) -> (i32, String, String) + Send + Sync;

/// Random numbers by a seed: xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, many: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % many as u64) as usize
    }
}

fn now() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

fn one(program: &Program, login: &str, args: &[&str]) -> Seen {
    let begun = now();
    let (code, out, err) = program(login, args);
    let ended = now();
    let out = serde_json::from_str(&out).unwrap_or(Value::Null);
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Seen { begun, ended, login: login.to_owned(), args, code, out, err }
}

/// A command that somebody might give. `last`: the last request that anybody knows of.
fn some_command(dice: &mut Dice, last: &AtomicI64) -> (String, Vec<String>) {
    let mut people = people();
    let resource = RESOURCES[dice.below(RESOURCES.len())].0;
    let id = (last.load(Ordering::SeqCst) - dice.below(8) as i64).max(1).to_string();
    let length = ["1s", "2s", "3s", "1h"][dice.below(4)];
    let admin = people[dice.below(1 + ADMINS)].clone();
    let anybody = people.swap_remove(dice.below(1 + ADMINS + MEMBERS));
    let (login, args): (String, Vec<&str>) = match dice.below(100) {
        0..28 => (anybody, vec!["request", resource, "--reason", "busy day", "--duration", length]),
        28..50 => (admin, vec!["approve", &id]),
        50..54 => (admin, vec!["approve", &id, "--duration", "3s"]),
        54..60 => (admin, vec!["deny", &id]),
        60..64 => (anybody, vec!["withdraw", &id]),
        64..70 => (admin, vec!["revoke", &id]),
        70..88 => (anybody, vec!["check", resource]),
        88..94 => ("root".to_owned(), vec!["expire", "--no-deliver"]),
        94..97 => (anybody, vec!["list"]),
        _ => (anybody, vec!["inbox"]),
    };
    (login, args.into_iter().chain(["--json"]).map(str::to_owned).collect())
}

/// Runs processes for so long, and collects what is known afterwards.
pub fn run(seed: u64, lasts: Duration, program: &Arc<Program>) -> History {
    let (seen, last) = (Mutex::new(Vec::new()), AtomicI64::new(1));
    let until = Instant::now() + lasts;
    std::thread::scope(|scope| {
        for number in 0..PROCESSES {
            let (seen, last) = (&seen, &last);
            scope.spawn(move || {
                let mut dice = Dice(seed.wrapping_mul(PROCESSES).wrapping_add(number) | 1 << 63);
                while Instant::now() < until {
                    let (login, args) = some_command(&mut dice, last);
                    let args: Vec<&str> = args.iter().map(String::as_str).collect();
                    let done = one(&**program, &login, &args);
                    last.fetch_max(done.out["id"].as_i64().unwrap_or(0), Ordering::SeqCst);
                    seen.lock().unwrap().push(done);
                }
            });
        }
    });
    let mut seen = seen.into_inner().unwrap();
    // What ended last is recorded too.
    std::thread::sleep(Duration::from_secs(4));
    seen.push(one(&**program, "root", &["expire", "--no-deliver", "--json"]));
    let (code, out, err) = program("ana", &["audit", "verify"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = program("ana", &["audit", "export", "--format", "jsonl"]);
    assert_eq!(code, 0, "{err}");
    let log = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let inbox = |name: String| {
        let inbox = one(&**program, &name, &["inbox", "--all", "--json"]);
        (name, inbox.out.as_array().unwrap_or_else(|| panic!("{inbox:?}")).clone())
    };
    History { seen, log, inboxes: people().into_iter().map(inbox).collect() }
}

/// What became of one request, by the log.
#[derive(Debug, Default)]
struct Story {
    requester: String,
    resource: String,
    submitted: Option<i64>,
    /// What would be granted now.
    terms: Value,
    approvers: Vec<String>,
    decided: Vec<String>,
    grant: Option<Granted>,
    /// The action, who, and when.
    ended: Vec<(String, Option<String>, i64)>,
}

#[derive(Debug, Clone)]
struct Granted {
    starts: i64,
    ends: i64,
}

fn seconds(time: &Value) -> i64 {
    let text = time.as_str().unwrap_or_else(|| panic!("{time} is a time"));
    let part = |from: usize, to: usize| text[from..to].parse::<i64>().unwrap();
    let (year, month, day) = (part(0, 4), part(5, 7), part(8, 10));
    // Days from the civil calendar, by Howard Hinnant.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    days * 86_400 + part(11, 13) * 3600 + part(14, 16) * 60 + part(17, 19)
}

macro_rules! ensure {
    ($holds:expr, $($words:tt)*) => {
        let holds: bool = $holds;
        if !holds {
            return Err(format!($($words)*));
        }
    };
}

/// Figures of a history that is right.
#[derive(Debug)]
#[expect(dead_code, reason = "they are printed")]
pub struct Figures {
    pub commands: usize,
    pub requests: usize,
    pub grants: usize,
    pub entries: usize,
    pub busy: usize,
    pub answers: usize,
    /// Seconds: the longest that a command took, and the 99th of a hundred.
    pub longest: f64,
    pub p99: f64,
    pub over_5_seconds: usize,
}

pub fn check(history: &History) -> Result<Figures, String> {
    let stories = stories(&history.log)?;
    for (id, story) in &stories {
        decided_once(*id, story)?;
    }
    acknowledged_is_recorded_once(history, &stories)?;
    answers_are_true(&history.seen, &stories)?;
    everybody_is_notified(history, &stories)?;
    let mut lengths: Vec<f64> = history.seen.iter().map(|seen| seen.ended - seen.begun).collect();
    lengths.sort_by(f64::total_cmp);
    for seen in &history.seen {
        let is_known = [0, 1, 3, 4, 5, 75].contains(&seen.code) && (seen.code != 1 || seen.did("check"));
        ensure!(is_known, "an exit that should not be: {seen:?}: {}", seen.err);
        ensure!(seen.ended - seen.begun < MOST, "somebody waits too long: {seen:?}");
    }
    Ok(Figures {
        commands: history.seen.len(),
        requests: stories.len(),
        grants: stories.values().filter(|story| story.grant.is_some()).count(),
        entries: history.log.len(),
        busy: history.seen.iter().filter(|seen| seen.code == 75).count(),
        answers: history.seen.iter().filter(|seen| seen.did("check")).count(),
        longest: *lengths.last().unwrap(),
        p99: lengths[lengths.len() * 99 / 100],
        over_5_seconds: lengths.iter().filter(|length| **length > 5.0).count(),
    })
}

fn stories(log: &[Value]) -> Result<BTreeMap<i64, Story>, String> {
    let mut stories: BTreeMap<i64, Story> = BTreeMap::new();
    let mut last = 0;
    for (entry, number) in log.iter().zip(1..) {
        let (at, detail) = (seconds(&entry["at"]), &entry["detail"]);
        ensure!(entry["seq"] == number, "entry {number} is missing");
        ensure!(at >= last, "entry {number} is earlier than the one before");
        last = at;
        let action = entry["action"].as_str().unwrap_or_default();
        if action == "attempt.refused" {
            continue;
        }
        let Some(id) = entry["request"].as_i64() else { continue };
        let actor = entry["actor"].as_str().map(str::to_owned);
        let story = stories.entry(id).or_default();
        match action {
            "request.submitted" => {
                ensure!(story.submitted.is_none(), "request {id} is submitted twice");
                story.submitted = Some(at);
                story.requester = actor.ok_or("nobody submits")?;
                story.terms = detail["asked"].clone();
                story.resource = detail["asked"]["resource"].as_str().unwrap_or_default().to_owned();
            }
            "request.approved" => {
                ensure!(story.decided.is_empty(), "request {id} is approved after {:?}", story.decided);
                // Approvals of other terms do not count.
                if story.terms != detail["terms"] {
                    story.terms = detail["terms"].clone();
                    story.approvers.clear();
                }
                story.approvers.push(actor.ok_or("nobody approves")?);
            }
            "request.denied" | "request.withdrawn" | "request.lapsed" => story.decided.push(action.to_owned()),
            "grant.started" | "grant.scheduled" => {
                story.decided.push(action.to_owned());
                let granted = Granted { starts: seconds(&detail["starts_at"]), ends: seconds(&detail["ends_at"]) };
                ensure!(granted.starts == at, "grant {id} starts at {granted:?}, and is recorded at {at}");
                story.grant = Some(granted);
            }
            "grant.expired" | "grant.revoked" => story.ended.push((action.to_owned(), actor, at)),
            "grant.expiring" => {}
            other => return Err(format!("nobody does {other} here")),
        }
        ensure!(story.submitted.is_some(), "request {id} has {action} before it is submitted");
    }
    Ok(stories)
}

/// One decision, by those whose approvals the rule demands, and one end, not before its time and not after.
fn decided_once(id: i64, story: &Story) -> Result<(), String> {
    ensure!(story.decided.len() <= 1, "request {id} is decided more than once: {story:?}");
    ensure!(story.ended.len() <= 1, "grant {id} ends more than once: {story:?}");
    let demanded = RESOURCES.iter().find(|(name, _)| *name == story.resource).map(|(_, demanded)| *demanded);
    let demanded = demanded.ok_or_else(|| format!("request {id} is for {}", story.resource))?;
    let distinct: BTreeSet<&String> = story.approvers.iter().collect();
    ensure!(distinct.len() == story.approvers.len(), "somebody approves request {id} twice: {story:?}");
    for who in &story.approvers {
        ensure!(*who != story.requester, "{who} approves their own request {id}");
        ensure!(who == "ana" || who.starts_with("ada"), "{who} approves request {id}");
    }
    let Some(granted) = &story.grant else {
        ensure!(story.ended.is_empty(), "request {id} ends and was not granted");
        ensure!(story.approvers.len() < demanded, "request {id} has its approvals, and is not granted: {story:?}");
        return Ok(());
    };
    ensure!(distinct.len() == demanded, "grant {id} takes {demanded} approvals: {story:?}");
    match story.ended.first() {
        Some((action, actor, at)) if action == "grant.expired" => {
            ensure!(*at >= granted.ends && actor.is_none(), "grant {id} expires at {at}: {story:?}");
        }
        Some((_, actor, at)) => {
            ensure!(*at < granted.ends && actor.is_some(), "grant {id} is revoked after its end: {story:?}");
        }
        None => {}
    }
    Ok(())
}

/// What was said to be done is in the log once, and the log has nothing else.
fn acknowledged_is_recorded_once(history: &History, stories: &BTreeMap<i64, Story>) -> Result<(), String> {
    let mut done: BTreeMap<(&str, i64, &str), i64> = BTreeMap::new();
    for seen in history.seen.iter().filter(|seen| seen.code == 0) {
        let (action, id) = match seen.args[0].as_str() {
            "request" => ("request.submitted", seen.out["id"].as_i64().ok_or("a request has no number")?),
            "approve" => ("request.approved", seen.named()),
            "deny" => ("request.denied", seen.named()),
            "withdraw" => ("request.withdrawn", seen.named()),
            "revoke" => ("grant.revoked", seen.named()),
            _ => continue,
        };
        *done.entry((action, id, seen.login.as_str())).or_default() += 1;
    }
    for entry in &history.log {
        let (action, id) = (entry["action"].as_str().unwrap_or_default(), entry["request"].as_i64().unwrap_or(0));
        let is_done_by_people =
            ["request.submitted", "request.approved", "request.denied", "request.withdrawn", "grant.revoked"];
        if is_done_by_people.contains(&action) {
            *done.entry((action, id, entry["actor"].as_str().unwrap_or_default())).or_default() -= 1;
        }
    }
    let wrong = done.iter().find(|(_, times)| **times != 0);
    ensure!(wrong.is_none(), "said and recorded differ: {wrong:?}");
    for (key, action) in [("expired", "grant.expired"), ("lapsed", "request.lapsed"), ("expiring", "grant.expiring")] {
        let runs = history.seen.iter().filter(|seen| seen.did("expire") && seen.code == 0);
        let said: i64 = runs.map(|seen| seen.out[key].as_i64().unwrap_or(0)).sum();
        let recorded = history.log.iter().filter(|entry| entry["action"] == action).count() as i64;
        ensure!(said == recorded, "expire says {said} {key}, and {recorded} are recorded");
    }
    // Cron ran last: nothing that was over then is still open.
    let end = history.seen.last().map_or(0.0, |seen| seen.begun) as i64;
    for (id, story) in stories {
        let is_over = story.grant.as_ref().is_some_and(|granted| granted.ends < end) && story.ended.is_empty();
        ensure!(!is_over, "the end of grant {id} is not recorded: {story:?}");
    }
    Ok(())
}

/// When a command that did this began and ended.
fn when(seen: &[Seen], verb: &str, id: i64) -> Option<(f64, f64)> {
    let did = |seen: &&Seen| seen.code == 0 && seen.did(verb) && seen.named() == id;
    seen.iter().find(did).map(|seen| (seen.begun, seen.ended))
}

/// An answer is true of some moment between the question and the answer.
fn answers_are_true(seen: &[Seen], stories: &BTreeMap<i64, Story>) -> Result<(), String> {
    for asked in seen.iter().filter(|seen| seen.did("check") && seen.code <= 1) {
        // Admins have everything.
        if !asked.login.starts_with("bob") {
            ensure!(asked.code == 0, "an admin is not allowed: {asked:?}");
            continue;
        }
        let theirs = stories.iter().filter(|(_, it)| it.requester == asked.login && it.resource == asked.args[1]);
        let theirs: BTreeMap<i64, &Story> = theirs.map(|(id, story)| (*id, story)).collect();
        if asked.code == 0 {
            let because = asked.out["because"].as_array().ok_or("an answer has a reason")?;
            ensure!(!because.is_empty(), "allowed for no reason: {asked:?}");
            for way in because {
                let id = way["request"].as_i64().ok_or_else(|| format!("by no grant: {asked:?}"))?;
                let story = theirs.get(&id).ok_or_else(|| format!("by somebody else's grant: {asked:?}"))?;
                let granted = story.grant.as_ref().ok_or_else(|| format!("by what was never granted: {asked:?}"))?;
                ensure!(granted.ends as f64 > asked.begun, "allowed after the end: {asked:?} {story:?}");
                ensure!(granted.starts as f64 <= asked.ended, "allowed before the start: {asked:?} {story:?}");
                let revoked = when(seen, "revoke", id).is_some_and(|(_, ended)| ended < asked.begun);
                ensure!(!revoked, "allowed after it was revoked: {asked:?}");
            }
        } else {
            for (id, story) in &theirs {
                let Some(granted) = &story.grant else { continue };
                // Known to be granted before the question, and neither over nor being revoked before the answer.
                let submitted = seen.iter().find(|it| it.code == 0 && it.did("request") && it.out["id"] == *id);
                let is_auto = story.approvers.is_empty();
                let approvals = seen.iter().filter(|it| it.code == 0 && it.did("approve") && it.named() == *id);
                let approved = approvals.map(|it| it.ended).fold(0.0, f64::max);
                let known = if is_auto { submitted.map_or(f64::MAX, |it| it.ended) } else { approved };
                let revoked = when(seen, "revoke", *id).map_or(f64::MAX, |(begun, _)| begun);
                let is_held = known < asked.begun && (granted.ends as f64) > asked.ended && revoked > asked.ended;
                ensure!(!is_held, "refused, and grant {id} is live: {asked:?} {story:?}");
            }
        }
    }
    Ok(())
}

/// Each notification that the rules promise is in its inbox once.
fn everybody_is_notified(history: &History, stories: &BTreeMap<i64, Story>) -> Result<(), String> {
    let mut inboxes: BTreeMap<(&str, &str, i64), usize> = BTreeMap::new();
    for (member, inbox) in &history.inboxes {
        for item in inbox {
            if let (Some(event), Some(id)) = (item["event"].as_str(), item["request"].as_i64()) {
                *inboxes.entry((member, event, id)).or_default() += 1;
            }
        }
    }
    let again = inboxes.iter().find(|(_, times)| **times != 1);
    ensure!(again.is_none(), "notified more than once: {again:?}");
    let has = |member: &str, event: &str, id: i64| inboxes.contains_key(&(member, event, id));
    let deciders: Vec<String> = people().into_iter().take(1 + ADMINS).collect();
    for (id, story) in stories {
        let (id, requester) = (*id, story.requester.as_str());
        if story.resource != "connection:free" {
            for who in deciders.iter().filter(|who| *who != requester) {
                ensure!(has(who, "request.submitted", id), "{who} is not notified of request {id}");
            }
            let is_granted = story.grant.is_some();
            ensure!(is_granted == has(requester, "request.approved", id), "{requester} and the grant {id}: {story:?}");
        }
        for (action, event) in [("request.denied", "request.denied"), ("request.lapsed", "request.lapsed")] {
            let is_so = story.decided.iter().any(|decided| decided == action);
            ensure!(is_so == has(requester, event, id), "{requester} and {event} of {id}: {story:?}");
        }
        if let Some((action, actor, at)) = story.ended.first() {
            let by_other = action == "grant.revoked" && actor.as_deref() != Some(requester);
            ensure!(by_other == has(requester, "access.revoked", id), "{requester} and the end of {id}: {story:?}");
            // Nobody is notified of an end if access goes on.
            let goes_on = stories.iter().any(|(other, it)| {
                let theirs = *other != id && it.requester == requester && it.resource == story.resource;
                theirs && it.grant.as_ref().is_some_and(|grant| grant.starts <= *at && grant.ends > *at)
            });
            let is_notified = has(requester, "access.expired", id);
            // An admin has everything anyway, and grants of admins are about what they have.
            let must = action == "grant.expired" && !goes_on && requester.starts_with("bob");
            ensure!(!must || is_notified, "{requester} is not notified of the end of {id}: {story:?}");
            ensure!(action == "grant.expired" || !is_notified, "{requester} is told that {id} expired: {story:?}");
        }
    }
    Ok(())
}

/// Changes a history, if it has what it takes.
type Mistake<'m> = dyn Fn(&mut History) -> Option<()> + 'm;

/// A history that is not right is found out: each of these changes one thing, if it is there to be changed. Returns how many.
fn mistakes_are_seen(history: &History) -> usize {
    let has = |action: &'static str| move |entry: &&mut Value| entry["action"] == action;
    let of_inbox = |history: &mut History| {
        let inbox = history.inboxes.get_mut("ana")?;
        let place = inbox.iter().position(|item| item["event"] == "request.submitted")?;
        Some(inbox.remove(place))
    };
    let mistakes: [(&str, &Mistake<'_>); 8] = [
        ("a lost entry", &|history| {
            history.log.remove(history.log.len() / 2);
            Some(())
        }),
        ("an acknowledgement without an entry", &|history| {
            let again = history.seen.iter().find(|seen| seen.did("request") && seen.code == 0)?.clone();
            history.seen.push(again);
            Some(())
        }),
        ("a second decision", &|history| {
            let mut again = history.log.iter_mut().find(has("grant.started"))?.clone();
            again["seq"] = (history.log.len() + 1).into();
            again["at"] = history.log.last()?["at"].clone();
            again["detail"]["starts_at"] = again["at"].clone();
            history.log.push(again);
            Some(())
        }),
        ("an approval by the requester", &|history| {
            let approved = history.log.iter_mut().find(has("request.approved"))?["request"].clone();
            let is_it = |entry: &&mut Value| entry["request"] == approved;
            let requester = history.log.iter_mut().find(is_it)?["actor"].clone();
            history.log.iter_mut().find(has("request.approved"))?["actor"] = requester;
            Some(())
        }),
        ("a lost notification", &|history| of_inbox(history).map(drop)),
        ("a notification twice", &|history| {
            let item = of_inbox(history)?;
            history.inboxes.get_mut("ana")?.extend([item.clone(), item]);
            Some(())
        }),
        ("access after the end", &|history| {
            let is_allowed = |seen: &&mut Seen| seen.did("check") && seen.code == 0 && seen.login.starts_with("bob");
            let seen = history.seen.iter_mut().find(is_allowed)?;
            (seen.begun, seen.ended) = (seen.begun + 4000.0, seen.ended + 4000.0);
            Some(())
        }),
        ("a command that hangs", &|history| {
            history.seen.first_mut()?.ended += MOST;
            Some(())
        }),
    ];
    let mut seen = 0;
    for (name, make) in mistakes {
        let mut changed = history.clone();
        if make(&mut changed).is_some() {
            assert!(check(&changed).is_err(), "the checker does not see {name}");
            seen += 1;
        }
    }
    seen
}

/// Runs processes for `ACCESS_TEST_RACES` seconds, and holds what came of it to the rules.
pub fn hold(program: &Arc<Program>) {
    let number = |variable: &str| std::env::var(variable).ok().map(|text| text.parse::<u64>().unwrap());
    let fresh = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 >> 10;
    let seed = number("ACCESS_SEED").unwrap_or_else(fresh);
    let long = number("ACCESS_TEST_RACES");
    let lasts = Duration::from_secs(long.unwrap_or(6));
    let history = run(seed, lasts, program);
    let figures = check(&history).unwrap_or_else(|why| panic!("ACCESS_SEED={seed}: {why}"));
    eprintln!("seed {seed}, {lasts:?}: {figures:?}");
    let mistakes = mistakes_are_seen(&history);
    // In a short time there may be nothing of a kind.
    assert!(mistakes >= if long.is_some() { 8 } else { 4 }, "{mistakes} mistakes could be made");
}
