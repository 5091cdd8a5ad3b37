//! `access connector unix-group`: membership in a local Unix group.
//!
//! It changes `/etc/group` with usermod, which takes the system's lock before it reads the file, and keeps `/etc/gshadow` in step.
//! (gpasswd reads the file first: of two changes of a group at the same time, it can undo one.) Only members that are listed in the
//! group count, not those for whom it is the primary group of the account.

use std::fs;
use std::path::Path;
use std::process::Output;

use clap::Args;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_RDLCK, SEEK_SET, flock};
use nix::unistd::{Pid, Uid, User};

use super::processes::{self, Census, Look, LostGroup};
use super::protocol::{Holder, Provision};
use super::{GrantEffect, NotDone, System, account, parameters, tool};
use crate::domain::binding::Parameters;
use crate::domain::member::Login;

const FILE: &str = "/etc/group";
const FOLDER: &str = "/etc";
/// See lckpwdf(3).
const LOCK: &str = "/etc/.pwd.lock";

/// Membership in a Unix group of this host
#[derive(Debug, Args)]
#[command(after_help = "The parameter is group. Root's configuration says which groups a binding may name.

Example:
  access connector unix-group < operations")]
pub struct UnixGroupArgs {}

#[derive(Debug, Default)]
pub struct UnixGroup {
    /// Why the group file can't be changed now. The next operations need not wait for its lock as well.
    locked: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct LocalGroup {
    name: String,
    gid: u32,
    members: Vec<String>,
}

impl LocalGroup {
    fn has(&self, login: &Login) -> bool {
        self.members.iter().any(|member| member == login.as_str())
    }
}

impl System for UnixGroup {
    fn list(&mut self, all: &[Parameters]) -> Result<Vec<Holder>, NotDone> {
        let groups = read()?;
        let mut holders = Vec::new();
        for parameters in all {
            // Nobody holds parameters that this connector does not know.
            let Ok(name) = parameters::only(parameters, "group") else { continue };
            let members = groups.iter().filter(|group| group.name == name).flat_map(|group| &group.members);
            let mut logins: Vec<Login> = members.filter_map(|member| member.parse().ok()).collect();
            logins.sort();
            logins.dedup();
            holders.extend(logins.into_iter().map(|login| Holder { login, parameters: parameters.clone() }));
        }
        Ok(holders)
    }

    fn grant(&mut self, act: &Provision) -> Result<GrantEffect, NotDone> {
        let name = parameters::only(&act.parameters, "group")?;
        // usermod would take it for the number of a group.
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotDone::Failed(format!("{name} is a number, and not the name of a group")));
        }
        let group = find(name)?.ok_or_else(|| NotDone::Failed(format!("this host has no local group {name}")))?;
        account::of(&act.login)?;
        if group.has(&act.login) {
            return Ok(GrantEffect::WasThere);
        }
        self.add(&act.login, name).map(|()| GrantEffect::Given)
    }

    fn revoke(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let name = parameters::only(&act.parameters, "group")?;
        // Nobody is in a group that does not exist.
        let group = find(name)?;
        let is_in = group.as_ref().is_some_and(|group| group.has(&act.login));
        let removed = if is_in { self.remove(&act.login, name) } else { Ok(()) };
        // usermod does not, and neither did a run that was killed.
        tool::sync(Path::new(FOLDER))?;
        // Also if it is not removed: somebody may hold the lock to keep what is open.
        let note = group.map_or(Ok(None), |group| end_sessions(act, &group));
        removed.and(note)
    }
}

/// Exit statuses of usermod: an option that it does not know, and a user that does not exist.
const BAD_OPTION: i32 = 2;
const NO_USER: i32 = 6;

impl UnixGroup {
    fn add(&mut self, login: &Login, group: &str) -> Result<(), NotDone> {
        let output = self.change("usermod", ["-a", "-G", group, login.as_str()])?;
        self.changed(&output)
    }

    /// gpasswd takes the place of a usermod before 4.12, which can't remove, and removes an account that is gone.
    fn remove(&mut self, login: &Login, group: &str) -> Result<(), NotDone> {
        let mut output = self.change("usermod", ["-r", "-G", group, login.as_str()])?;
        if matches!(output.status.code(), Some(BAD_OPTION | NO_USER)) {
            output = self.change("gpasswd", ["-d", login.as_str(), group])?;
        }
        self.changed(&output)
    }

    fn change<'w>(&self, program: &str, words: impl IntoIterator<Item = &'w str>) -> Result<Output, NotDone> {
        match &self.locked {
            Some(why) => Err(NotDone::Later(why.clone())),
            None => tool::run(program, words),
        }
    }

    fn changed(&mut self, output: &Output) -> Result<(), NotDone> {
        if output.status.success() {
            return Ok(());
        }
        let why = tool::complaint(output);
        // The exit status is the same for a lock as for a disk that is full.
        if why.contains("cannot lock") && !why.contains("Permission denied") {
            let why = locked_by().map_or(why.clone(), |by| format!("{why}; {by} has the lock"));
            self.locked = Some(why.clone());
            return Err(NotDone::Later(why));
        }
        Err(NotDone::Failed(why))
    }
}

/// Who has the lock of the system's user files: a user can stop a passwd of theirs that has it.
fn locked_by() -> Option<String> {
    let lock = fs::File::open(LOCK).ok()?;
    let mut asked = flock { l_type: F_RDLCK as i16, l_whence: SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(&lock, FcntlArg::F_GETLK(&mut asked)).ok()?;
    let pid = Pid::from_raw(asked.l_pid);
    let status = processes::ThreadStatus::of(pid)?;
    let uid = status.uids().next()?;
    let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    Some(format!("process {pid} of {name}"))
}

/// Ends the processes that still have the group, or says that there are some.
fn end_sessions(act: &Provision, group: &LocalGroup) -> Result<Option<String>, NotDone> {
    let (login, name) = (&act.login, &group.name);
    let user = match account::of(login) {
        Ok(user) => user,
        Err(NotDone::Failed(_)) => return Ok(None),
        Err(later) => return Err(later),
    };
    if user.gid.as_raw() == group.gid {
        return Ok(Some(format!("{login} keeps the group {name}, which is the primary group of the account")));
    }
    let uids = account::user_ids(&user)?;
    let is_member = |uid| match User::from_uid(Uid::from_raw(uid)) {
        Ok(account) => account.is_some_and(|it| it.gid.as_raw() == group.gid || group.members.contains(&it.name)),
        // It may be one, whose process is not ours to end.
        Err(_) => true,
    };
    let lost = LostGroup { uids: &uids, gid: group.gid, is_member: &is_member };
    if act.end_sessions && !user.uid.is_root() {
        processes::kill_changing(user.uid)?;
    }
    let (found, census) = lost.processes(Look::Census)?;
    if found.is_empty() && census == Census::Complete {
        return Ok(None);
    }
    if act.end_sessions {
        if user.uid.is_root() {
            return Err(NotDone::Failed("the processes of root are not ended".to_owned()));
        }
        return processes::end(&[user.uid], |look| lost.processes(look)).map(|()| None);
    }
    Ok(Some(match found.len() {
        0 => format!("running processes of {login} may keep the group {name}: {}", processes::TOO_FAST),
        1 => format!("1 running process of {login} keeps the group {name} until it ends"),
        count => format!("{count} running processes of {login} keep the group {name} until they end"),
    }))
}

fn find(name: &str) -> Result<Option<LocalGroup>, NotDone> {
    Ok(read()?.into_iter().find(|group| group.name == name))
}

/// The local groups. The file is read, and not the name service: that also has groups that are not this host's.
fn read() -> Result<Vec<LocalGroup>, NotDone> {
    let text = fs::read(FILE).map_err(|error| NotDone::Later(format!("{FILE} can't be read: {error}")))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// `docker:x:998:alice,bob`
fn parse(text: &str) -> Vec<LocalGroup> {
    let group = |line: &str| {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        let members = fields.next()?.split(',').map(str::trim).filter(|member| !member.is_empty());
        Some(LocalGroup { name: name.to_owned(), gid, members: members.map(str::to_owned).collect() })
    };
    text.lines().filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_file_panics_and_no_member_is_made_up(text in "([a-z+#]{0,3}:?x?:?[0-9]{0,11}:?[a-z, ]{0,8}\n?){0,6}\\PC{0,8}") {
            for group in parse(&text) {
                prop_assert!(text.contains(&group.name) && !group.name.contains(':'));
                prop_assert!(group.members.iter().all(|name| text.contains(name) && !name.contains([':', ','])));
            }
        }
    }

    #[test]
    fn the_group_file_is_read_as_the_system_reads_it() {
        let groups = parse("root:x:0:\ndocker:x:998:alice,bob\n\nbroken\n+nis:::\n+\n#c:x:1:\nlast:x:5:bob");
        let group = |name: &str, gid, members: &[&str]| LocalGroup {
            name: name.to_owned(),
            gid,
            members: members.iter().map(|&member| member.to_owned()).collect(),
        };
        let expected = [
            group("root", 0, &[]),
            group("docker", 998, &["alice", "bob"]),
            group("#c", 1, &[]),
            group("last", 5, &["bob"]),
        ];
        assert_eq!(groups, expected);
    }
}
