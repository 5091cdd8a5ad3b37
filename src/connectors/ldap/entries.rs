//! An entry for each grant, which the directory itself deletes when access ends (RFC 2589).

use std::cell::Cell;
use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use ldap3::{LdapResult, SearchEntry, dn_escape};

use super::dn::{self, Template};
use super::session::{Directory, not_done};
use super::{code, is_gone, people, spelled, values};
use crate::connectors::parameters::only;
use crate::connectors::protocol::{Holder, Provision};
use crate::connectors::user_name::no_login;
use crate::connectors::{GrantEffect, NotDone, System};
use crate::domain::binding::Parameters;
use crate::domain::member::Login;
use crate::domain::time::Timestamp;

/// The class of entries that have a time to live.
const DYNAMIC: &str = "dynamicObject";
/// The operation that sets it.
pub const REFRESH: &str = "1.3.6.1.4.1.1466.101.119.1";
/// The longest time to live, in seconds: a year and six hours.
const LONGEST: i32 = 31_557_600;

pub struct LdapEntries {
    directory: Directory,
    /// The entries of people, which logins must have. None: this is not checked.
    people: Option<Template>,
    classes: Vec<String>,
    /// The attribute that names an entry.
    naming: String,
    /// Whether the directory is known to end entries.
    refreshes: bool,
}

impl LdapEntries {
    pub fn new(directory: Directory, people: Option<Template>, classes: Vec<String>, naming: String) -> LdapEntries {
        LdapEntries { directory, people, classes, naming, refreshes: false }
    }
}

impl System for LdapEntries {
    fn list(&mut self, parameters: &[Parameters]) -> Result<Vec<Holder>, NotDone> {
        let mut holders = Vec::new();
        for all in parameters {
            // Nobody holds parameters that no operation accepts.
            let Ok(container) = spelled(all, "container") else { continue };
            for name in self.names(container)? {
                holders.push(Holder { login: name, parameters: all.clone() });
            }
        }
        Ok(holders)
    }

    fn grant(&mut self, act: &Provision) -> Result<GrantEffect, NotDone> {
        let container = spelled(&act.parameters, "container")?;
        if let Some(people) = &self.people {
            people::entry_of(&mut self.directory, people, &act.login)?;
        }
        let entry = self.entry(act.login.as_str(), container);
        let ttl = act.until.map(seconds_until).transpose()?;
        if ttl.is_some() {
            self.check_that_entries_end()?;
        }
        let effect = self.add(&entry, act.login.as_str(), ttl.is_some())?;
        let is_dynamic = match effect {
            GrantEffect::Given => ttl.is_some(),
            GrantEffect::WasThere => self.is_dynamic(&entry)?,
        };
        match (is_dynamic, ttl) {
            (true, Some(ttl)) => self.end_after(&entry, ttl, effect)?,
            // RFC 2589 lets no entry change its kind.
            (true, None) => {
                self.remove(&entry)?;
                self.add(&entry, act.login.as_str(), false)?;
            }
            // The reconciler takes it back at the end.
            (false, _) => {}
        }
        Ok(effect)
    }

    fn revoke(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let container = only(&act.parameters, "container")?;
        let entry = self.entry(act.login.as_str(), container);
        self.check_spelling(&entry, act.login.as_str())?;
        let result = self.delete(&entry)?;
        match result.rc {
            code::SUCCESS => Ok(Some("hosts that cache entries, and open sessions, keep it for a while".to_owned())),
            code::NO_SUCH_OBJECT if self.is_seen(container)? => Ok(None),
            code::NO_SUCH_OBJECT => Err(hidden(container).later()),
            _ => Err(not_done(&result)),
        }
    }
}

fn seconds_until(end: Timestamp) -> Result<i32, NotDone> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let left = end.unix() - i64::try_from(now).unwrap_or(i64::MAX);
    match i32::try_from(left) {
        Ok(ttl @ 1..=LONGEST) => Ok(ttl),
        _ if left < 1 => Err(NotDone::Failed(format!("access ended at {end}"))),
        _ => Err(NotDone::Failed(format!(
            "no entry can have an end more than {LONGEST} s from now, and this is {left} s"
        ))),
    }
}

fn hidden(container: &str) -> NotDone {
    NotDone::Failed(format!("there is no entry {container}, or this login can't see it"))
}

impl LdapEntries {
    fn entry(&self, login: &str, container: &str) -> String {
        format!("{}={},{container}", self.naming, dn_escape(login))
    }

    /// The names of all entries in a container. A container that is gone has none.
    fn names(&mut self, container: &str) -> Result<Vec<Login>, NotDone> {
        let naming = &self.naming;
        let found = self.directory.with(|session| session.children(container, naming))?;
        match found {
            Ok(entries) => Ok(entries.iter().map(|entry| self.name(entry)).collect()),
            Err(result) if result.rc == code::INVALID_DN => Ok(Vec::new()),
            Err(result) if result.rc == code::NO_SUCH_OBJECT => {
                if is_gone(&mut self.directory, container)? {
                    Ok(Vec::new())
                } else {
                    Err(hidden(container))
                }
            }
            Err(result) => Err(not_done(&result)),
        }
    }

    /// The login of an entry, as the entry spells it. One that is named by another attribute is reported.
    fn name(&self, entry: &SearchEntry) -> Login {
        let own = dn::parse(&entry.dn).and_then(|levels| levels.into_iter().next()).unwrap_or_default();
        let Some((_, named)) = own.into_iter().find(|(kind, _)| kind.eq_ignore_ascii_case(&self.naming)) else {
            return dn::as_login(&entry.dn);
        };
        let same = |value: &String| value.to_lowercase() == named.to_lowercase();
        let name = values(entry, &self.naming).into_iter().find(same).unwrap_or(named);
        name.parse().unwrap_or_else(|_| no_login("entry", &name))
    }

    fn is_seen(&mut self, entry: &str) -> Result<bool, NotDone> {
        Ok(self.directory.with(|session| session.read(entry, &["objectClass"]))?.is_ok())
    }

    /// Only some directories delete entries by themselves: OpenLDAP with the overlay dds.
    fn check_that_entries_end(&mut self) -> Result<(), NotDone> {
        if self.refreshes {
            return Ok(());
        }
        let found = self.directory.with(|session| session.read("", &["supportedExtension", "dynamicSubtrees"]))?;
        let root = found.map_err(|result| not_done(&result))?;
        // slapd hides the operation, and names the subtrees.
        let is_listed = values(&root, "supportedExtension").iter().any(|it| it == REFRESH);
        self.refreshes = is_listed || !values(&root, "dynamicSubtrees").is_empty();
        if self.refreshes {
            return Ok(());
        }
        let why = "the directory has no entries that end by themselves (RFC 2589): slapd needs the overlay dds";
        Err(NotDone::Failed(why.to_owned()))
    }

    fn add(&mut self, entry: &str, login: &str, dynamic: bool) -> Result<GrantEffect, NotDone> {
        let mut classes: HashSet<String> = self.classes.iter().cloned().collect();
        if dynamic {
            classes.insert(DYNAMIC.to_owned());
        }
        let attributes =
            vec![("objectClass".to_owned(), classes), (self.naming.clone(), HashSet::from([login.to_owned()]))];
        let tries = Cell::new(0);
        let result = self.directory.with(|session| {
            tries.set(tries.get() + 1);
            session.add(entry, attributes.clone())
        })?;
        match result.rc {
            code::SUCCESS => Ok(GrantEffect::Given),
            code::ENTRY_ALREADY_EXISTS => {
                self.check_spelling(entry, login)?;
                Ok(if tries.get() > 1 { GrantEffect::Given } else { GrantEffect::WasThere })
            }
            code::NO_SUCH_OBJECT => Err(hidden(dn::parent(entry).unwrap_or(entry))),
            _ => Err(not_done(&result)),
        }
    }

    /// A directory takes `Bob` and `bob` for one name.
    fn check_spelling(&mut self, entry: &str, login: &str) -> Result<(), NotDone> {
        let naming = self.naming.as_str();
        let names = match self.directory.with(|session| session.read(entry, &[naming]))? {
            Ok(entry) => values(&entry, naming),
            // It may be gone, or hidden.
            Err(result) if [code::NO_SUCH_OBJECT, code::INSUFFICIENT_ACCESS].contains(&result.rc) => Vec::new(),
            Err(result) => return Err(not_done(&result)),
        };
        match names.first() {
            Some(name) if !names.iter().any(|name| name == login) => {
                Err(NotDone::Failed(format!("{entry} is the entry of {name}")))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn is_dynamic(&mut self, entry: &str) -> Result<bool, NotDone> {
        let found = self.directory.with(|session| session.read(entry, &["objectClass"]))?;
        let classes = found.map(|entry| values(&entry, "objectClass")).map_err(|result| not_done(&result))?;
        Ok(classes.iter().any(|class| class.eq_ignore_ascii_case(DYNAMIC)))
    }

    /// Sets the time to live. A new entry to which the directory gives another one is taken away again.
    fn end_after(&mut self, entry: &str, ttl: i32, effect: GrantEffect) -> Result<(), NotDone> {
        let why = match self.directory.with(|session| session.refresh(entry, ttl))? {
            Ok(set) if set == ttl => return Ok(()),
            Ok(set) => {
                NotDone::Failed(format!("the directory keeps the entry for {set} s, and access ends in {ttl} s"))
            }
            Err(result) if result.rc == code::SIZE_LIMIT_EXCEEDED => {
                NotDone::Failed(format!("the directory keeps no entry for {ttl} s (dds-max-ttl): {}", result.text))
            }
            Err(result) if result.rc == code::INSUFFICIENT_ACCESS => {
                NotDone::Failed("the login of this connector may not set entryTtl: it needs manage access".to_owned())
            }
            Err(result) => not_done(&result),
        };
        if effect == GrantEffect::Given {
            self.remove(entry)?;
        }
        Err(why)
    }

    fn remove(&mut self, entry: &str) -> Result<(), NotDone> {
        let result = self.delete(entry)?;
        if [code::SUCCESS, code::NO_SUCH_OBJECT].contains(&result.rc) { Ok(()) } else { Err(not_done(&result)) }
    }

    fn delete(&mut self, entry: &str) -> Result<LdapResult, NotDone> {
        self.directory.with(|session| session.delete(entry))
    }
}
