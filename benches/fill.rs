//! Fills a database for `benches/run.sh`. It records events through the library as the program does, but with times in the
//! past, so `access audit verify` accepts the file.
//!
//! - `fill create PATH LOGIN PAST LAPSED PENDING`: a team of about a thousand members with PAST requests whose access ended
//!   long ago, LAPSED grants that have ended but whose end is not recorded yet, PENDING requests, and one live grant of
//!   `connection:c0` to `m0`, whose login is LOGIN.
//! - `fill year PATH SEED REQUESTS`: a year of a team of 50 people (`year.rs`).
//! - `fill lapse PATH COUNT`: COUNT more grants that lapse. It waits until they have.

#[path = "year.rs"]
mod year;

use std::error::Error;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use access::domain::duration::Length;
use access::domain::event::{Approval, Draft, Event, Granted, MetDemand, Submission};
use access::domain::name::Name;
use access::domain::notification::NotificationKind;
use access::domain::resource::Resource;
use access::domain::team::{Team, team_file};
use access::domain::terms::{End, RequestDetails, RequestId, Terms};
use access::domain::time::Timestamp;
use access::error::Failure;
use access::identity;
use access::store::{Context, Store, Write};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Requests filed at the same time.
const GROUP: u64 = 1000;
/// Requests in one transaction.
const TRANSACTION: u64 = 5 * GROUP;
/// Members below this number have no email, or the outbox would be full of old notifications.
const WITH_EMAIL: u64 = 500;
const MEMBERS: u64 = 1000;
const CONNECTIONS: u64 = 40;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["create", path, login, past, lapsed, pending] => {
            create(Path::new(path), login, past.parse()?, lapsed.parse()?, pending.parse()?)
        }
        ["year", path, seed, requests] => year::fill(Path::new(path), seed.parse()?, requests.parse()?).map(drop),
        ["lapse", path, count] => lapse(Path::new(path), count.parse()?),
        _ => {
            Err("fill create PATH LOGIN PAST LAPSED PENDING | fill year PATH SEED REQUESTS | fill lapse PATH COUNT"
                .into())
        }
    }
}

fn create(path: &Path, login: &str, past: u64, lapsed: u64, pending: u64) -> Outcome<()> {
    let now = identity::clock()?.unix();
    let of_past = i64::try_from(past.div_ceil(GROUP))?;
    let begin = now - 40 * DAY - of_past * 2 * HOUR;
    let team = team_file::parse(&team(login)).map_err(|mistakes| mistakes.to_string())?;
    let store = set_up(path, &team, begin - 1)?;
    let mut next = RequestId::FIRST;

    // Each group is filed, approved a minute later, and over an hour after that.
    in_groups(&store, past, |write, group, size| {
        let asks = asks(&mut next, group, size, 1..WITH_EMAIL, |_| Length::HOUR);
        let at = begin + i64::try_from(group).unwrap_or(0) * 2 * HOUR;
        file(write, &asks, at)?;
        approve(write, &asks, at + 60)?;
        end(write, &asks, at + 60 + HOUR)
    })?;
    // Nobody has recorded the ends of these, which came in another order than the beginnings.
    let lengths = [HOUR, 4 * HOUR, DAY, 7 * DAY];
    let step = 12 * DAY / i64::try_from(lapsed.div_ceil(GROUP).max(1))?;
    in_groups(&store, lapsed, |write, group, size| {
        let length = |n: u64| length(lengths[(n % 4) as usize]);
        let asks = asks(&mut next, group, size, WITH_EMAIL..MEMBERS, length);
        let at = now - 30 * DAY + i64::try_from(group).unwrap_or(0) * step;
        file(write, &asks, at)?;
        approve(write, &asks, at + 60)
    })?;
    in_groups(&store, 1, |write, _, _| {
        let held = asks(&mut next, 0, 1, 0..1, |_| Length::LONGEST);
        file(write, &held, now - 9 * DAY)?;
        approve(write, &held, now - 9 * DAY + 60)
    })?;
    in_groups(&store, pending, |write, group, size| {
        let asks = asks(&mut next, group, size, WITH_EMAIL..MEMBERS, |_| length(4 * HOUR));
        file(write, &asks, now - HOUR)
    })
}

fn lapse(path: &Path, count: u64) -> Outcome<()> {
    let store = Store::open(path).map_err(Failure::from)?;
    let ended = store.write(|write| -> Result<i64, Failure> {
        let at = write.last_time()?.unix();
        let mut next = write.next_request()?;
        let asks = asks(&mut next, 0, count, WITH_EMAIL..MEMBERS, |_| length(1));
        file(write, &asks, at)?;
        approve(write, &asks, at)?;
        Ok(at + 1)
    })?;
    while identity::clock()?.unix() <= ended {
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The team file: a login for m0, an email for half of the members, and for two of the three who decide.
fn team(login: &str) -> String {
    let mut file = String::from("[team]\nname = \"bench\"\n");
    for (name, role, email) in [("olga", "owner", true), ("alice", "admin", true), ("arno", "admin", false)] {
        file += &member(name, role, name, email);
    }
    for n in 0..MEMBERS {
        let name = format!("m{n}");
        file += &member(&name, "member", if n == 0 { login } else { &name }, n >= WITH_EMAIL);
    }
    for group in 0..MEMBERS / 50 {
        let members: Vec<String> = (0..50).map(|n| format!("\"m{}\"", group * 50 + n)).collect();
        file += &format!("[groups.g{group}]\nmembers = [{}]\n", members.join(", "));
    }
    for n in 0..CONNECTIONS {
        let environment = if n % 2 == 0 { "production" } else { "non-production" };
        file += &format!("[connections.c{n}]\nenvironment = \"{environment}\"\n");
    }
    for n in 0..CONNECTIONS / 2 {
        file += &format!("[targets.t{n}]\nconnections = [\"c{n}\"]\n");
        // Of a connection that nobody asks for here.
        file += &format!("[scopes.s{n}]\nconnections = [\"c{}\"]\nassigned = [\"group:g{n}\"]\n", CONNECTIONS - 1);
    }
    for (feature, role) in [("deploy", "member"), ("costs", "admin")] {
        file += &format!("[features.{feature}]\nrole = \"{role}\"\n");
    }
    file
}

fn member(name: &str, role: &str, login: &str, email: bool) -> String {
    let email = if email { format!("email = \"{name}@bench.example\"\n") } else { String::new() };
    format!("[members.{name}]\nrole = \"{role}\"\nlogin = \"{login}\"\n{email}")
}

fn set_up(path: &Path, team: &Team, at: i64) -> Outcome<Store> {
    let event = Event::TeamInitialized { changes: team.as_changes() };
    Store::create(path, |write| -> Result<(), Failure> {
        Ok(write.record(&context(at, Some("olga"))?, vec![Draft { event, recipients: Vec::new() }])?)
    })?;
    Ok(Store::open(path).map_err(Failure::from)?)
}

/// Records this many requests in groups, with several groups in a transaction.
fn in_groups(
    store: &Store,
    count: u64,
    mut group: impl FnMut(&Write<'_>, u64, u64) -> Result<(), Failure>,
) -> Outcome<()> {
    for first in (0..count).step_by(TRANSACTION as usize) {
        let beyond = count.min(first + TRANSACTION);
        store.write(|write| -> Result<(), Failure> {
            (first..beyond)
                .step_by(GROUP as usize)
                .try_for_each(|start| group(write, start / GROUP, GROUP.min(beyond - start)))
        })?;
    }
    Ok(())
}

/// A request to file.
struct Ask {
    id: RequestId,
    member: Name,
    terms: Terms,
}

/// The requests of a group. No member asks for the same resource twice at the same time.
fn asks(
    next: &mut RequestId,
    group: u64,
    size: u64,
    members: std::ops::Range<u64>,
    length: impl Fn(u64) -> Length,
) -> Vec<Ask> {
    let many = members.end - members.start;
    let ask = |n| {
        let id = *next;
        *next = id.next();
        let turn = (group * GROUP + n) / many;
        Ask {
            id,
            member: parsed(&format!("m{}", members.start + (group * GROUP + n) % many)),
            terms: Terms {
                // All but the last, which is covered by scopes.
                resource: parsed::<Resource>(&format!("connection:c{}", turn % (CONNECTIONS - 1))),
                end: End::After(length(n)),
                start: None,
            },
        }
    };
    (0..size).map(ask).collect()
}

fn file(write: &Write<'_>, asks: &[Ask], at: i64) -> Result<(), Failure> {
    for ask in asks {
        let login = write.member(&ask.member)?.map(|(member, _)| member.login);
        let event = Event::RequestSubmitted(Submission {
            request: ask.id,
            requester: ask.member.clone(),
            filed_by: ask.member.clone(),
            requester_login: login.clone(),
            filer_login: login,
            details: RequestDetails::new(
                ask.terms.clone(),
                parsed(&format!("OPS-{}: look into what the alert said", ask.id)),
            ),
            lapses_at: time(at)?.plus(Length::WEEK),
            remind_at: None,
            extends: None,
            emergency: false,
        });
        let told = vec![NotificationKind::RequestSubmitted.to(&parsed("arno"))];
        write.record(&context(at, Some(ask.member.as_str()))?, vec![Draft { event, recipients: told }])?;
    }
    Ok(())
}

fn approve(write: &Write<'_>, asks: &[Ask], at: i64) -> Result<(), Failure> {
    let mut drafts = Vec::new();
    for Ask { id, member, terms } in asks {
        let approved = Event::RequestApproved(Approval {
            request: *id,
            by: parsed("arno"),
            terms: terms.clone(),
            asked: None,
            note: None,
            voids: Vec::new(),
            signature: None,
        });
        let started = Event::GrantStarted(Granted {
            request: *id,
            member: member.clone(),
            resource: terms.resource.clone(),
            end: terms.end,
            start: None,
            starts_at: time(at)?,
            ends_at: terms.end.instant(time(at)?),
            modified: false,
            approved_by: vec![parsed("arno")],
            by_rule: None,
            demands: vec![MetDemand { rule: None, approvals: 1, by: vec![parsed("arno")] }],
            reviewers: None,
        });
        drafts.push(Draft { event: approved, recipients: vec![NotificationKind::RequestApproved.to(member)] });
        drafts.push(Draft { event: started, recipients: Vec::new() });
    }
    Ok(write.record(&context(at, Some("arno"))?, drafts)?)
}

fn end(write: &Write<'_>, asks: &[Ask], at: i64) -> Result<(), Failure> {
    let mut drafts = Vec::new();
    for Ask { id, member, terms } in asks {
        let event = Event::GrantExpired { request: *id, resource: terms.resource.clone(), ended_at: time(at)? };
        drafts.push(Draft { event, recipients: vec![NotificationKind::AccessExpired.to(member)] });
    }
    Ok(write.record(&context(at, None)?, drafts)?)
}

fn context(at: i64, actor: Option<&str>) -> Result<Context, Failure> {
    let os_user = actor.unwrap_or("access").to_owned();
    Ok(Context { now: time(at)?, actor: actor.map(parsed), os_user })
}

fn time(at: i64) -> Result<Timestamp, Failure> {
    Timestamp::from_unix(at).map_err(|why| Failure::new(access::error::Kind::Internal, why.to_string()))
}

fn length(seconds: i64) -> Length {
    Length::from_seconds(seconds).expect("a length between a second and ten years")
}

fn parsed<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("what this program writes is well formed")
}
