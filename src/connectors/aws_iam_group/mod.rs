//! AWS: membership of an IAM group.

mod iam;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;

use self::iam::{Iam, IamKeys, IamProblem};
use super::parameters::only;
use super::protocol::{Holder, Provision};
use super::user_name::UserNames;
use super::web::Website;
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
    /// Allow http://
    #[arg(long)]
    pub allow_plain: bool,
    /// The certificates to trust, in PEM (default: the system's)
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The file with the access key, as the AWS tools write it
    #[arg(long, value_name = "FILE")]
    pub credentials_file: PathBuf,
    /// The section of that file
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub profile: String,
    /// The IAM user of a login
    #[arg(long, value_name = "NAME", default_value = "{login}")]
    pub user_name: String,
}

impl AwsIamGroupArgs {
    pub fn open(self) -> Result<AwsIamGroup, Failure> {
        let names = UserNames::parse(&self.user_name)?;
        let keys = IamKeys::read(&self.credentials_file, &self.profile)?;
        let website = Website::new(&self.url, self.allow_plain, self.ca_file.as_deref())?;
        let iam = Iam::new(website, self.region, &keys);
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
            for user in self.members(group)? {
                let Some(login) = self.names.holder(&user) else { continue };
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
            Err(IamProblem::NoSuchEntity(why)) => Err(NotDone::Failed(why)),
            Err(IamProblem::NotDone(why)) => Err(why),
        }
    }

    fn revoke(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let group = only(&act.parameters, "group")?;
        let user = self.names.of(&act.login);
        self.members.remove(group);
        match self.iam.call("RemoveUserFromGroup", &[("GroupName", group), ("UserName", &user)]) {
            Ok(_) => Ok(None),
            // The group, the user or the membership is not there.
            Err(IamProblem::NoSuchEntity(why)) => {
                let members = self.members(group)?;
                if members.contains(&user) {
                    return Err(NotDone::Failed(why));
                }
                // A user that was renamed is still a member.
                let has_user = !why.to_lowercase().contains(NO_USER);
                if has_user || members.is_empty() { Ok(None) } else { Err(self.names.gone(&act.login)) }
            }
            Err(IamProblem::NotDone(why)) => Err(why),
        }
    }
}

/// How IAM says that a user is not there: `The user with name bob cannot be found.` Without it, only the membership is not.
const NO_USER: &str = "the user with name";

impl AwsIamGroup {
    /// The members of a group, which one list finds for all grants of a run.
    fn known_members(&mut self, group: &str) -> Result<&BTreeSet<String>, NotDone> {
        if !self.members.contains_key(group) {
            let members = self.members(group)?.into_iter().collect();
            self.members.insert(group.to_owned(), members);
        }
        Ok(self.members.entry(group.to_owned()).or_default())
    }

    /// Empty if the group is gone.
    fn members(&mut self, group: &str) -> Result<Vec<String>, NotDone> {
        let mut members = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let mut arguments = vec![("GroupName", group), ("MaxItems", "1000")];
            arguments.extend(marker.as_deref().map(|marker| ("Marker", marker)));
            let page = match self.iam.call("GetGroup", &arguments) {
                Ok(page) => page,
                Err(IamProblem::NoSuchEntity(_)) => return Ok(Vec::new()),
                Err(IamProblem::NotDone(why)) => return Err(why),
            };
            if !page.contains("<GetGroupResult>") {
                return Err(NotDone::Failed("the service answers without a group: check --url".to_owned()));
            }
            members.extend(iam::elements(&page, "UserName"));
            let more = iam::elements(&page, "IsTruncated").iter().any(|it| it == "true");
            let next = iam::elements(&page, "Marker").pop().filter(|_| more);
            if next.is_none() || next == marker {
                return Ok(members);
            }
            marker = next;
        }
    }
}
