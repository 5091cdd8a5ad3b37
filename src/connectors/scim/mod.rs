//! SCIM 2.0 (RFC 7644): membership of a group.

mod http;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use self::http::{ScimAnswer, ScimService};
use super::parameters::only;
use super::protocol::{Holder, Provision};
use super::user_name::{UserNames, no_login};
use super::web::{Website, encode};
use super::{GrantEffect, NotDone, System};
use crate::domain::binding::Parameters;
use crate::domain::member::Login;
use crate::error::Failure;
use crate::tls;

/// SCIM: membership of a group (parameter: group, its displayName or id)
#[derive(Debug, Args)]
pub struct ScimArgs {
    /// The base of the service: https://HOST/scim/v2
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Allow http://: everyone on the way can read the token
    #[arg(long)]
    pub allow_plain: bool,
    /// The certificates to trust, in PEM (default: the system's)
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The file with the bearer token
    #[arg(long, value_name = "FILE")]
    pub token_file: PathBuf,
    /// The userName of a login
    #[arg(long, value_name = "NAME", default_value = "{login}")]
    pub user_name: String,
}

impl ScimArgs {
    pub fn open(self) -> Result<Scim, Failure> {
        let names = UserNames::parse(&self.user_name)?;
        let token = tls::secret(&self.token_file)?;
        let website = Website::new(&self.url, self.allow_plain, self.ca_file.as_deref())?;
        let service = ScimService::new(website, &token);
        Ok(Scim {
            service,
            names,
            groups: BTreeMap::new(),
            users: BTreeMap::new(),
            hidden: BTreeSet::new(),
            members: BTreeMap::new(),
        })
    }
}

pub struct Scim {
    service: ScimService,
    names: UserNames,
    /// The ids of groups, by what bindings call them.
    groups: BTreeMap<String, String>,
    /// The userNames of ids.
    users: BTreeMap<String, String>,
    /// The ids of users that the token may not see.
    hidden: BTreeSet<String>,
    /// The members of groups, as this run knows them.
    members: BTreeMap<String, BTreeSet<String>>,
}

impl System for Scim {
    fn list(&mut self, parameters: &[Parameters]) -> Result<Vec<Holder>, NotDone> {
        let mut holders = Vec::new();
        for all in parameters {
            // Nobody holds parameters that no operation accepts.
            let Ok(group) = only(all, "group") else { continue };
            let Some(id) = self.group(group)? else { continue };
            let members = self.members(&id)?.unwrap_or_default();
            self.learn(&members)?;
            let logins: BTreeSet<Login> = members.iter().filter_map(|id| self.holder(id)).collect();
            holders.extend(logins.into_iter().map(|login| Holder { login, parameters: all.clone() }));
        }
        Ok(holders)
    }

    fn grant(&mut self, act: &Provision) -> Result<GrantEffect, NotDone> {
        let name = only(&act.parameters, "group")?;
        let Some(group) = self.group(name)? else {
            return Err(NotDone::Failed(format!("there is no group {name}")));
        };
        let Some(user) = self.user(&act.login)? else {
            return Err(NotDone::Failed(format!("there is no user {}", self.names.of(&act.login))));
        };
        if self.known_members(&group)?.contains(&user) {
            return Ok(GrantEffect::WasThere);
        }
        let change = json!({ "op": "add", "path": "members", "value": [{ "value": user }] });
        let answer = self.change(&group, &change)?;
        let has_it = |members: Option<BTreeSet<String>>| members.is_some_and(|members| members.contains(&user));
        if answer.changed(&group) || (answer.status < 500 && has_it(self.members(&group)?)) {
            self.members.entry(group).or_default().insert(user);
            return Ok(GrantEffect::Given);
        }
        Err(answer.not_done())
    }

    fn revoke(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let name = only(&act.parameters, "group")?;
        // A group that was renamed still has its members.
        let gone = || {
            let why = "it may have another name, or this token can't see it";
            NotDone::Later(format!("there is no group {name} now: {why}"))
        };
        let group = self.group(name)?.ok_or_else(gone)?;
        let Some(user) = self.user(&act.login)? else {
            // A user that was renamed is still a member.
            let is_empty = self.members(&group)?.ok_or_else(gone)?.is_empty();
            return if is_empty { Ok(None) } else { Err(self.names.gone(&act.login)) };
        };
        let path = format!("members[value eq {}]", Value::from(user.as_str()));
        self.members.remove(&group);
        let answer = self.change(&group, &json!({ "op": "remove", "path": path }))?;
        if answer.changed(&group) {
            return Ok(Some("applications keep it until the service tells them, and open sessions longer".to_owned()));
        }
        // A service may say that there is no such member (`noTarget`).
        if answer.status < 500 && !self.members(&group)?.ok_or_else(gone)?.contains(&user) {
            return Ok(None);
        }
        Err(answer.not_done())
    }
}

impl Scim {
    fn change(&mut self, group: &str, operation: &Value) -> Result<ScimAnswer, NotDone> {
        let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation] });
        self.service.patch(&format!("/Groups/{}", encode(group)), &body)
    }

    /// The resources whose attribute has this value. A service may ignore case.
    fn find(&mut self, kind: &str, attribute: &str, value: &str) -> Result<Vec<Value>, NotDone> {
        let filter = format!("{attribute} eq {}", Value::from(value));
        let path = format!("/{kind}?filter={}&attributes={attribute}", encode(&filter));
        let answer = self.service.get(&path)?;
        if !answer.is_success() {
            return Err(answer.not_done());
        }
        let Some(total) = answer.body.get("totalResults").and_then(Value::as_u64) else {
            return Err(NotDone::Failed("the service answers without a list: check --url".to_owned()));
        };
        let found = answer.body.get("Resources").and_then(Value::as_array).cloned().unwrap_or_default();
        // A page: the one that is looked for may be on the next.
        if total > found.len() as u64 {
            let why = format!("the service returns {} of {total} {kind} with the {attribute} {value}", found.len());
            return Err(NotDone::Failed(why));
        }
        Ok(found)
    }

    /// The id of a group, by its id or its displayName. The id comes first: a group can be given the id of another as its name.
    fn group(&mut self, name: &str) -> Result<Option<String>, NotDone> {
        if let Some(id) = self.groups.get(name) {
            return Ok(Some(id.clone()));
        }
        let found = match self.group_by_id(name)? {
            Some(id) => Some(id),
            None => self.group_by_name(name)?,
        };
        if let Some(id) = &found {
            self.groups.insert(name.to_owned(), id.clone());
        }
        Ok(found)
    }

    fn group_by_id(&mut self, name: &str) -> Result<Option<String>, NotDone> {
        let answer = self.service.get(&format!("/Groups/{}?attributes=displayName", encode(name)))?;
        match (answer.status, id(&answer.body)) {
            (200, Some(id)) => Ok((id == name).then(|| id.to_owned())),
            // Some services refuse what can't be one of their ids.
            (400 | 404 | 405 | 410 | 422 | 501, _) => Ok(None),
            _ => Err(answer.not_done()),
        }
    }

    fn group_by_name(&mut self, name: &str) -> Result<Option<String>, NotDone> {
        let found = self.find("Groups", "displayName", name)?;
        let exact: Vec<&str> = found.iter().filter(|it| text(it, "displayName") == Some(name)).filter_map(id).collect();
        match exact.as_slice() {
            [] => Ok(None),
            [id] => Ok(Some((*id).to_owned())),
            several => {
                let why = format!("{} groups are named {name}: write the id", several.len());
                Err(NotDone::Failed(why))
            }
        }
    }

    /// The id of a login's user.
    fn user(&mut self, login: &Login) -> Result<Option<String>, NotDone> {
        let name = self.names.of(login);
        if let Some((id, _)) = self.users.iter().find(|(_, known)| **known == name) {
            return Ok(Some(id.clone()));
        }
        let found = self.find("Users", "userName", &name)?;
        let Some(id) = found.iter().find(|it| text(it, "userName") == Some(&name)).and_then(id) else {
            return Ok(None);
        };
        self.users.insert(id.to_owned(), name);
        Ok(Some(id.to_owned()))
    }

    /// The members of a group, which one request finds for all grants of a run.
    fn known_members(&mut self, group: &str) -> Result<&BTreeSet<String>, NotDone> {
        if !self.members.contains_key(group) {
            let members = self.members(group)?.unwrap_or_default();
            self.members.insert(group.to_owned(), members);
        }
        Ok(self.members.entry(group.to_owned()).or_default())
    }

    /// The ids of a group's members: users, and groups in it. None: the group is gone.
    fn members(&mut self, group: &str) -> Result<Option<BTreeSet<String>>, NotDone> {
        let answer = self.service.get(&format!("/Groups/{}", encode(group)))?;
        match answer.status {
            // A group without members has no `members`, and neither has what is no group.
            200 if id(&answer.body) == Some(group) => {}
            404 => return Ok(None),
            _ => return Err(answer.not_done()),
        }
        let members = answer.body.get("members").and_then(Value::as_array);
        let ids = members.into_iter().flatten().filter_map(|member| text(member, "value"));
        Ok(Some(ids.map(str::to_owned).collect()))
    }

    /// Who a list names for a member. None: it is no user.
    fn holder(&self, id: &str) -> Option<Login> {
        let known = self.users.get(id).map(|name| self.names.holder(name));
        known.or_else(|| self.hidden.contains(id).then(|| no_login("user", id)))
    }

    /// Finds the userNames of ids: many in one request, and those that it does not return one by one.
    fn learn(&mut self, ids: &BTreeSet<String>) -> Result<(), NotDone> {
        let unknown: Vec<&String> = ids.iter().filter(|id| !self.users.contains_key(*id)).collect();
        for some in unknown.chunks(AT_ONCE) {
            let named: Vec<String> = some.iter().map(|id| format!("id eq {}", Value::from(id.as_str()))).collect();
            let filter = encode(&named.join(" or "));
            let answer = self.service.get(&format!("/Users?filter={filter}&attributes=userName&count={AT_ONCE}"))?;
            // A service that has no such filter refuses it.
            let found = answer.body.get("Resources").and_then(Value::as_array).filter(|_| answer.is_success());
            let pairs = found.into_iter().flatten().filter_map(|user| Some((id(user)?, text(user, "userName")?)));
            self.users.extend(pairs.map(|(id, name)| (id.to_owned(), name.to_owned())));
            for id in some {
                if !self.users.contains_key(*id) {
                    self.learn_one(id)?;
                }
            }
        }
        Ok(())
    }

    fn learn_one(&mut self, id: &str) -> Result<(), NotDone> {
        let answer = self.service.get(&format!("/Users/{}?attributes=userName", encode(id)))?;
        match (answer.status, text(&answer.body, "userName")) {
            (200, Some(name)) => {
                self.users.insert(id.to_owned(), name.to_owned());
            }
            // A group in the group, or a user that is gone.
            (200, None) if self::id(&answer.body) == Some(id) => {}
            (404, _) => {}
            // It hides no other.
            (403, _) => {
                self.hidden.insert(id.to_owned());
            }
            _ => return Err(answer.not_done()),
        }
        Ok(())
    }
}

/// How many users one request asks for.
const AT_ONCE: usize = 40;

fn text<'v>(resource: &'v Value, key: &str) -> Option<&'v str> {
    resource.get(key).and_then(Value::as_str)
}

fn id(resource: &Value) -> Option<&str> {
    text(resource, "id")
}
