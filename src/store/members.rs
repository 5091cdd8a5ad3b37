//! Members, with what decides what they may use.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;

use super::read::{Read, agree};
use super::{Error, row};
use crate::domain::member::{Assignee, Login};
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::ssh_key::SshKey;

impl Read<'_> {
    pub fn member_names(&self) -> Result<Vec<Name>, Error> {
        self.rows("SELECT name FROM member ORDER BY name", [], |row| row::parsed(row, 0))
    }

    pub fn is_member(&self, name: &Name) -> Result<bool, Error> {
        Ok(self.one("SELECT 1 FROM member WHERE name = ?1", [name.as_str()], |_| Ok(()))?.is_some())
    }

    pub fn member_of_login(&self, login: &Login) -> Result<Option<Name>, Error> {
        let sql = "SELECT name FROM member WHERE login = ?1";
        let Some(name) = self.one(sql, [login.as_str()], |row| row::parsed::<Name>(row, 0))? else { return Ok(None) };
        let sql = "SELECT login FROM member WHERE name = ?1";
        let in_row = self.one(sql, [name.as_str()], |row| row::parsed::<Login>(row, 0))?;
        agree(in_row.as_ref() == Some(login), "of logins")?;
        Ok(Some(name))
    }

    /// The member who has this SSH key, which is in Base64, and the key. None: nobody, or a disabled member.
    pub fn member_of_ssh_key(&self, blob: &str) -> Result<Option<(Name, SshKey)>, Error> {
        let sql = "SELECT name, ssh_keys FROM member WHERE instr(ssh_keys, ?1) AND NOT disabled";
        let found = self.rows(sql, [blob], |row| Ok((row::parsed::<Name>(row, 0)?, row::json(row, 1)?)))?;
        Ok(found.into_iter().find_map(|(name, keys): (Name, BTreeSet<SshKey>)| {
            keys.into_iter().find(|key| key.blob() == blob).map(|key| (name, key))
        }))
    }

    /// A member with their groups, scopes and grants.
    pub fn principal(&self, name: &Name) -> Result<Option<Principal>, Error> {
        let Some((member, since)) = self.member(name)? else { return Ok(None) };
        let groups: Vec<Name> =
            self.rows("SELECT group_name FROM membership WHERE member = ?1", [name.as_str()], |row| {
                row::parsed(row, 0)
            })?;
        let grants = self.grants_of(name)?;
        let mut scopes = BTreeMap::new();
        // Several short statements are faster than a large one, which takes long to prepare.
        let groups_of = groups.iter().map(|group| Assignee::Group(group.clone()));
        let assignees = Role::ALL.into_iter().map(Assignee::Role).chain([Assignee::Member(name.clone())]);
        let mut names: BTreeSet<Name> = BTreeSet::new();
        for assignee in assignees.chain(groups_of) {
            let sql = "SELECT scope FROM assignment WHERE assignee = ?1";
            names.extend(self.rows(sql, [assignee.to_string()], |row| row::parsed(row, 0))?);
        }
        names.extend(grants.iter().filter_map(|grant| match &grant.terms.resource {
            Resource::Scope(scope) => Some(scope.clone()),
            Resource::Connection(_) | Resource::Target(_) | Resource::Feature(_) | Resource::Role(_) => None,
        }));
        for scope in names {
            if let Some(body) = self.catalogue_body("scope", &scope)? {
                scopes.insert(scope, body);
            }
        }
        Ok(Some(Principal { name: name.clone(), member, since, groups: groups.into_iter().collect(), scopes, grants }))
    }

    /// This name, and all names under which the Unix user has filed requests.
    pub(super) fn names_of_login(&self, member: &Name, login: Option<&Login>) -> Result<BTreeSet<Name>, Error> {
        let mut names = BTreeSet::from([member.clone()]);
        let Some(login) = login else { return Ok(names) };
        // Steps from one name to the next, so that the number of requests under each does not matter.
        let sql = "SELECT min(requester) FROM request
             WHERE requester_login = ?1 AND requester_login <> requester AND requester > ?2";
        let mut last = String::new();
        while let Some(name) =
            self.one(sql, params![login.as_str(), last], |row| row::maybe_parsed::<Name>(row, 0))?.flatten()
        {
            name.as_str().clone_into(&mut last);
            names.insert(name);
        }
        names.extend(login.as_str().parse::<Name>());
        Ok(names)
    }

    /// The members who can have this role or a higher one now: by the team file, or by a grant whose end is not recorded.
    pub fn holders_of_role(&self, least: Role) -> Result<Vec<Name>, Error> {
        let roles: Vec<&str> = Role::ALL.into_iter().filter(|role| *role >= least).map(Role::as_str).collect();
        let base = if least >= Role::Admin { "role IN ('admin', 'owner') AND" } else { "" };
        let sql = format!(
            "SELECT name FROM member WHERE {base} instr(?1, role)
             UNION SELECT member FROM grant WHERE ended_at IS NULL AND resource >= 'role:' AND resource < 'role;'
                 AND instr(?1, substr(resource, 6))"
        );
        self.rows(&sql, [roles.join(" ")], |row| row::parsed(row, 0))
    }
}
