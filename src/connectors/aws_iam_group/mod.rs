//! AWS: membership of an IAM group.

mod iam;

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;

use self::iam::Iam;
use super::aws::{AwsArgs, AwsProblem};
use super::parameters::only;
use super::protocol::{Holder, Provision};
use super::user_name::UserNames;
use super::{GrantEffect, NotDone, System};
use crate::domain::binding::Parameters;
use crate::error::Failure;

/// AWS: membership of an IAM group (parameter: group, its name)
#[derive(Debug, Args)]
pub struct AwsIamGroupArgs {
    /// The endpoint of IAM
    #[arg(long, value_name = "URL", default_value = "https://iam.amazonaws.com")]
    pub url: String,
    /// The region that signatures name
    #[arg(long, default_value = "us-east-1")]
    pub region: String,
    #[command(flatten)]
    pub aws: AwsArgs,
    /// The IAM user of a login
    #[arg(long, value_name = "NAME", default_value = "{login}")]
    pub user_name: String,
}

impl AwsIamGroupArgs {
    pub fn open(self) -> Result<AwsIamGroup, Failure> {
        let names = UserNames::parse(&self.user_name)?;
        let iam = Iam { client: self.aws.client(&self.region)?, endpoint: self.aws.endpoint("iam", &self.url)? };
        Ok(AwsIamGroup { iam, names, members: BTreeMap::new() })
    }
}

pub struct AwsIamGroup {
    iam: Iam,
    names: UserNames,
    /// The members of groups, as this run knows them.
    members: BTreeMap<String, BTreeSet<String>>,
}

impl System for AwsIamGroup {
    fn list(&mut self, parameters: &[Parameters]) -> Result<Vec<Holder>, NotDone> {
        let mut holders = Vec::new();
        for all in parameters {
            // Nobody holds parameters that no operation accepts.
            let Ok(group) = only(all, "group") else { continue };
            for user in self.members(group)?.unwrap_or_default() {
                let login = self.names.holder(&user);
                holders.push(Holder { login, parameters: all.clone() });
            }
        }
        Ok(holders)
    }

    fn grant(&mut self, act: &Provision) -> Result<GrantEffect, NotDone> {
        let group = only(&act.parameters, "group")?;
        let user = self.names.of(&act.login);
        if self.known_members(group)?.contains(&user) {
            return Ok(GrantEffect::WasThere);
        }
        match self.iam.call("AddUserToGroup", &[("GroupName", group), ("UserName", &user)]) {
            Ok(_) => {
                self.members.entry(group.to_owned()).or_default().insert(user);
                Ok(GrantEffect::Given)
            }
            Err(problem) => Err(problem.not_done()),
        }
    }

    fn revoke(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let group = only(&act.parameters, "group")?;
        let user = self.names.of(&act.login);
        self.members.remove(group);
        match self.iam.call("RemoveUserFromGroup", &[("GroupName", group), ("UserName", &user)]) {
            Ok(_) => Ok(None),
            // The group, the user or the membership is not there.
            Err(AwsProblem::Missing(why)) => {
                // A group that was renamed still has its members.
                let gone = || {
                    let why = "it may have another name, or these keys can't see it";
                    NotDone::Later(format!("there is no group {group} now: {why}"))
                };
                let members = self.members(group)?.ok_or_else(gone)?;
                if members.contains(&user) {
                    return Err(NotDone::Failed(why));
                }
                // A user that was renamed is still a member.
                let has_user = !why.to_lowercase().contains(NO_USER);
                if has_user || members.is_empty() { Ok(None) } else { Err(self.names.gone(&act.login)) }
            }
            Err(AwsProblem::NotDone(why)) => Err(why),
        }
    }
}

/// How IAM says that a user is not there: `The user with name bob cannot be found.` Without it, only the membership is not.
const NO_USER: &str = "the user with name";

/// The most pages of a group. AWS has at most 5,000 users in an account.
const PAGES: u32 = 50;

impl AwsIamGroup {
    /// The members of a group, which one list finds for all grants of a run.
    fn known_members(&mut self, group: &str) -> Result<&BTreeSet<String>, NotDone> {
        if !self.members.contains_key(group) {
            let members = self.members(group)?.into_iter().flatten().collect();
            self.members.insert(group.to_owned(), members);
        }
        Ok(self.members.entry(group.to_owned()).or_default())
    }

    /// None: the group is gone.
    fn members(&mut self, group: &str) -> Result<Option<Vec<String>>, NotDone> {
        let mut members = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..PAGES {
            let mut arguments = vec![("GroupName", group), ("MaxItems", "1000")];
            arguments.extend(marker.as_deref().map(|marker| ("Marker", marker)));
            let page = match self.iam.call("GetGroup", &arguments) {
                Ok(page) => page,
                Err(AwsProblem::Missing(_)) => return Ok(None),
                Err(AwsProblem::NotDone(why)) => return Err(why),
            };
            members.extend(iam::elements(&page, "UserName"));
            if !iam::elements(&page, "IsTruncated").iter().any(|it| it == "true") {
                return Ok(Some(members));
            }
            let next = iam::elements(&page, "Marker").pop();
            if next.is_none() || next == marker {
                break;
            }
            self.iam.client.patience().check()?;
            marker = next;
        }
        Err(NotDone::Failed(format!("the service returns only a part of the group {group}")))
    }
}
