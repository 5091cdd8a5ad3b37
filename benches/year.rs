//! A year of a team of 50 people, the same for the same seed: requests, approvals, denials, emergencies and their reviews,
//! revoked, permanent and lapsed ones, recertifications, and changes of the rules. Each step is a call of the service at its time, so the rules
//! hold and `access audit verify` accepts the file.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

use access::domain::duration::Length;
use access::domain::member::Login;
use access::domain::recertification::{ItemVerdict, Selection};
use access::domain::resource::Resource;
use access::domain::terms::{End, Modification, RequestDetails, RequestId, Terms};
use access::domain::text::Text;
use access::domain::time::Timestamp;
use access::error::{Failure, Kind};
use access::protocol::{Checkpoint, ItemView};
use access::service::{
    ActingAs, Approve, AuditCheckpoint, Call, Caller, DecideItem, Deny, Expire, Init, Outside, ReviewEmergency, Revoke,
    Service, StartRecertification, SubmitRequest, TeamApply, Withdraw, init,
};
use access::store::Store;

/// 2026-01-01T08:00:00Z.
const BEGIN: i64 = 1_767_254_400;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const ENGINEERS: u64 = 40;
/// The first day of each month but the first, in days since the first of January, from the last.
const MONTHS: [i64; 11] = [334, 304, 273, 243, 212, 181, 151, 120, 90, 59, 31];
const ADMINS: [&str; 4] = ["alice", "arno", "ada", "olivia"];

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Makes the database, with about so many requests. Gives the checkpoint that the auditor took on the first of July.
pub fn fill(path: &Path, seed: u64, requests: i64) -> Outcome<Checkpoint> {
    let olivia: Login = "olivia".parse()?;
    let begin = Init { login: &olivia, by: &olivia, owner: "olivia".parse()?, team: None, sample: false };
    init(path, Timestamp::from_unix(BEGIN)?, begin)?;
    let store = Store::open(path).map_err(Failure::from)?;
    let mut year = Year { store, now: Cell::new(BEGIN), random: seed };
    year.apply(&team(&[TWO_FOR_PRODUCTION, BREAK_GLASS]))?;
    let step = 364 * DAY / requests;
    let mut checkpoint = None;
    let mut rules = vec![
        (BEGIN + 240 * DAY, vec![TWO_FOR_PRODUCTION, BREAK_GLASS, SHORT_BILLING]),
        (BEGIN + 160 * DAY, vec![ONE_FOR_PRODUCTION, BREAK_GLASS]),
    ];
    let mut months = MONTHS.to_vec();
    let mut reviews = vec![(BEGIN + 270 * DAY, Selection::All), (BEGIN + 90 * DAY, Selection::Permanent)];
    for number in 0..requests {
        let next = BEGIN + DAY + number * step;
        if let Some(day) = months.pop_if(|day| BEGIN + *day * DAY - 12 * HOUR <= next) {
            year.pass_to(BEGIN + day * DAY - 12 * HOUR);
            year.maintain()?;
        }
        year.pass_to(next);
        if let Some((_, changed)) = rules.pop_if(|(at, _)| *at <= year.now.get()) {
            year.apply(&team(&changed))?;
        }
        if checkpoint.is_none() && year.now.get() > BEGIN + 181 * DAY {
            checkpoint = Some(year.call("zoe", AuditCheckpoint {})?);
        }
        year.call("root", Expire { dry_run: false, deliver: false })?;
        if let Some((_, selection)) = reviews.pop_if(|(at, _)| *at <= year.now.get()) {
            year.recertify(selection)?;
        }
        match year.below(100) {
            0..4 => year.emergency()?,
            _ => year.request()?,
        }
    }
    checkpoint.ok_or_else(|| "too few requests for a year".into())
}

struct Year {
    store: Store,
    now: Cell<i64>,
    random: u64,
}

impl Year {
    /// A number below `limit` (splitmix64).
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % limit
    }

    fn among<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn pass_to(&self, at: i64) {
        self.now.set(self.now.get().max(at));
    }

    fn pass(&mut self, most: i64) {
        let by = self.below(most.unsigned_abs()) as i64 + 1;
        self.now.set(self.now.get() + by);
    }

    fn call<C: Call>(&self, login: &str, call: C) -> Result<C::Reply, Failure> {
        let nothing = || Failure::new(Kind::Failure, "nothing is sent");
        let outside = Outside {
            owns_file: &|| false,
            clocks: &|| Err(Failure::new(Kind::Failure, "no log is shared")),
            has_account: &|_| Ok(true),
            knows_zone: &|_| true,
            shared: false,
            deliver: &|_| Err(nothing()),
            notify_test: &|_| Err(nothing()),
            delivery_findings: &|_| Vec::new(),
        };
        let malformed = |why: access::domain::Malformed| Failure::new(Kind::Internal, why.to_string());
        let caller =
            Caller { login: login.parse().map_err(malformed)?, root: login == "root", acting_as: ActingAs::Login };
        let now = Timestamp::from_unix(self.now.get()).map_err(malformed)?;
        let service = Service { store: &self.store, caller: &caller, clock: &|_| Ok(now), outside: &outside };
        service.answer(call)
    }

    /// None: it was refused, which is part of a year.
    fn attempt<C: Call>(&self, login: &str, call: C) -> Result<Option<C::Reply>, Failure> {
        match self.call(login, call) {
            Ok(reply) => Ok(Some(reply)),
            Err(failure) if matches!(failure.kind, Kind::Refused | Kind::Conflict) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn apply(&self, text: &str) -> Outcome<()> {
        let text = text.to_owned();
        let apply = TeamApply { text, dry_run: false, seen: None, against: None, revoke_unmatched: false };
        self.call("olivia", apply)?;
        Ok(())
    }

    fn submit(&self, login: &str, resource: &str, end: End, emergency: bool) -> Outcome<Option<RequestId>> {
        let resource: Resource = resource.parse()?;
        let ticket = format!("OPS-{}", 1000 + self.now.get() / HOUR % 9000);
        let reason: Text = format!("Look into {ticket} on {}", resource.name()).parse()?;
        let details = RequestDetails {
            ticket: Some(ticket.parse()?),
            ..RequestDetails::new(Terms { resource, end, start: None }, reason)
        };
        let ask = SubmitRequest { details, requester: None, emergency, default_length: false, dry_run: false };
        Ok(self.attempt(login, ask)?.map(|reply| reply.answer.id))
    }

    /// An engineer asks, and others decide, or nobody does.
    fn request(&mut self) -> Outcome<()> {
        let engineer = format!("e{}", self.below(ENGINEERS));
        let resource = self.among(&[
            "connection:prod-aws",
            "connection:prod-aws",
            "connection:prod-k8s",
            "target:orders-db",
            "target:billing-db",
        ]);
        let hours = self.among(&[1, 4, 8, 24, 7 * 24, 7 * 24]);
        let end = match self.below(40) {
            0 => End::Never,
            _ => End::After(Length::from_seconds(hours * HOUR)?),
        };
        let Some(id) = self.submit(&engineer, resource, end, false)? else { return Ok(()) };
        let fate = self.below(100);
        if fate >= 95 {
            return Ok(());
        }
        self.pass(3 * HOUR);
        let first = self.below(4) as usize;
        match fate {
            0..8 => {
                let reason = Some("Use the replica".parse()?);
                self.attempt(ADMINS[first], Deny { id, reason, seen: None })?;
            }
            8..12 => {
                self.attempt(&engineer, Withdraw { id, seen: None })?;
            }
            _ => {
                for turn in 0..2 {
                    let modification = Modification { resource: None, end: None };
                    let approve = Approve { id, modification, note: None, seen: None, signature: None };
                    self.attempt(ADMINS[(first + turn) % 4], approve)?;
                    self.pass(HOUR);
                }
            }
        }
        if fate >= 88 {
            self.attempt("olivia", Revoke { id, reason: Some("Done early".parse()?), seen: None })?;
        }
        Ok(())
    }

    /// Production is maintained on the first day of a month.
    fn maintain(&mut self) -> Outcome<()> {
        let day = End::After(Length::from_seconds(DAY)?);
        let Some(id) = self.submit("e39", "connection:prod-aws", day, false)? else { return Ok(()) };
        for admin in &ADMINS[..2] {
            let modification = Modification { resource: None, end: None };
            self.attempt(
                admin,
                Approve { id, modification, note: Some("Maintenance".parse()?), seen: None, signature: None },
            )?;
        }
        Ok(())
    }

    /// What people hold is reviewed: most is kept, some revoked, and some forgotten.
    fn recertify(&mut self, selection: Selection) -> Outcome<()> {
        let due_in = Length::from_seconds(14 * DAY)?;
        let start = StartRecertification { selection, due_in, reviewers: BTreeSet::new(), dry_run: false };
        let started = self.call("alice", start)?;
        for ItemView { id, .. } in started.items {
            self.pass(HOUR);
            let (verdict, reason) = match self.below(10) {
                0..6 => (ItemVerdict::Keep, "Still on the team that runs it"),
                6..9 => (ItemVerdict::Revoke, "Moved to another project"),
                _ => continue,
            };
            let reviewer = self.among(&["arno", "ada"]);
            self.attempt(reviewer, DecideItem { id, verdict, reason: Some(reason.parse()?) })?;
        }
        Ok(())
    }

    /// Somebody on call takes production at once, and mostly somebody reviews it.
    fn emergency(&mut self) -> Outcome<()> {
        let engineer = format!("e{}", self.below(8));
        let end = End::After(Length::from_seconds(2 * HOUR)?);
        let Some(id) = self.submit(&engineer, "connection:prod-aws", end, true)? else { return Ok(()) };
        self.pass(DAY);
        if self.below(10) > 0 {
            let note = "Looked at the session".parse()?;
            let reviewer = self.among(&ADMINS);
            self.attempt(reviewer, ReviewEmergency { id, note, seen: None })?;
        }
        Ok(())
    }
}

const TWO_FOR_PRODUCTION: &str = "name = \"production\"\nmatch = { resources = [\"connection:prod-*\"] }\n\
     approvers = [\"role:admin\"]\napprovals = 2\nmax_duration = \"7d\"\n";
const ONE_FOR_PRODUCTION: &str = "name = \"production\"\nmatch = { resources = [\"connection:prod-*\"] }\n\
     approvers = [\"role:admin\"]\napprovals = 1\nmax_duration = \"1d\"\n";
const BREAK_GLASS: &str = "name = \"break glass\"\nmatch = { resources = [\"connection:prod-aws\"], \
     requesters = [\"group:oncall\"] }\nemergency = true\n";
const SHORT_BILLING: &str = "name = \"billing\"\nmatch = { resources = [\"target:billing-db\"] }\nmax_duration = \"4h\"\nallow_permanent = false\n";

fn team(rules: &[&str]) -> String {
    let mut file = String::from("[team]\nname = \"acme\"\n");
    let mut member = |name: &str, role: &str, more: &str| {
        file += &format!("[members.{name}]\nrole = \"{role}\"\n{more}");
    };
    member("olivia", "owner", "");
    ADMINS[..3].iter().for_each(|name| member(name, "admin", ""));
    member("zoe", "viewer", "auditor = true\n");
    (0..ENGINEERS).for_each(|number| member(&format!("e{number}"), "member", ""));
    (0..5).for_each(|number| member(&format!("v{number}"), "viewer", ""));
    file += "[groups.oncall]\nmembers = [\"e0\", \"e1\", \"e2\", \"e3\", \"e4\", \"e5\", \"e6\", \"e7\"]\n\
             [connections.prod-aws]\nenvironment = \"production\"\n\
             [connections.prod-k8s]\nenvironment = \"production\"\n\
             [connections.staging]\nenvironment = \"non-production\"\n\
             [targets.orders-db]\nconnections = [\"prod-aws\"]\n\
             [targets.billing-db]\nconnections = [\"prod-aws\"]\n\
             [scopes.non-production]\nenvironments = [\"non-production\"]\nassigned = [\"role:member\"]\n";
    for rule in rules {
        file += &format!("[[rules]]\n{rule}");
    }
    file
}
