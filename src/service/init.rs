//! `init`: a new database, with its owner.

use std::path::Path;

use crate::domain::event::{Draft, Event};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::team::{Team, team_file};
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::store::{Context, Error, Store};

const SAMPLE: &str = include_str!("../../examples/team.toml");
const SAMPLE_OWNER: &str = "olivia";

/// How a new database begins.
pub struct Init<'a> {
    /// The owner's.
    pub login: &'a Login,
    /// The Unix user who creates it: the owner, or root for them.
    pub by: &'a Login,
    pub owner: Name,
    pub team: Option<Name>,
    pub sample: bool,
}

/// Creates the database. Returns its first team.
pub fn init(path: &Path, clock: Timestamp, init: Init<'_>) -> Result<Team, Failure> {
    let team = if init.sample { sample(&init)? } else { bare(&init) };
    let event = Event::TeamInitialized { changes: team.as_changes() };
    let context = Context { now: clock, actor: Some(init.owner.clone()), os_user: init.by.to_string() };
    Store::create(path, |write| -> Result<(), Error> {
        write.record(&context, vec![Draft { event, recipients: Vec::new() }])
    })?;
    Ok(team)
}

fn bare(init: &Init<'_>) -> Team {
    let team = init.team.clone().unwrap_or_else(|| "team".parse().expect("a plain word is a name"));
    Team::of_one(team, init.owner.clone(), init.login.clone())
}

/// The sample team, with the caller in its owner's place.
fn sample(init: &Init<'_>) -> Result<Team, Failure> {
    let mut team = team_file::parse(SAMPLE)
        .map_err(|mistakes| Failure::new(Kind::Internal, format!("the sample team is wrong: {}", mistakes.first[0])))?;
    let alone = bare(init);
    if let Some(name) = &init.team {
        team.team.name = name.clone();
    }
    team.members.retain(|name, _| name.as_str() != SAMPLE_OWNER);
    for (name, member) in &mut team.members {
        if member.login == *init.login {
            // The caller's own login is the owner's.
            member.login = format!("{name}-sample").parse().expect("a name with a suffix is a login");
        }
    }
    team.members.extend(alone.members);
    Ok(team)
}
