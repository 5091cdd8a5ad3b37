//! AWS: membership of an IAM group.

mod iam;

use std::path::PathBuf;

use clap::Args;

use self::iam::{Iam, IamKeys, IamProblem};
use super::parameters::only;
use super::protocol::{Holder, Provision};
use super::web::Website;
use super::{NotDone, System};
use crate::domain::binding::Parameters;
use crate::domain::member::Login;
use crate::error::{Failure, Kind};

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

const PLACE: &str = "{login}";

impl AwsIamGroupArgs {
    pub fn open(self) -> Result<AwsIamGroup, Failure> {
        let Some((before, after)) = self.user_name.split_once(PLACE) else {
            let failure = Failure::new(Kind::Usage, format!("--user-name has no {PLACE}"));
            return Err(failure.hint("example: {login}@example.com"));
        };
        let keys = IamKeys::read(&self.credentials_file, &self.profile)?;
        let website = Website::new(&self.url, self.allow_plain, self.ca_file.as_deref())?;
        let iam = Iam::new(website, self.region, &keys);
        Ok(AwsIamGroup { iam, before: before.to_owned(), after: after.to_owned() })
    }
}

pub struct AwsIamGroup {
    iam: Iam,
    /// What the name of an IAM user has before and after the login.
    before: String,
    after: String,
}

impl System for AwsIamGroup {
    fn list(&mut self, parameters: &[Parameters]) -> Result<Vec<Holder>, NotDone> {
        let mut holders = Vec::new();
        for all in parameters {
            // Nobody holds parameters that no operation accepts.
            let Ok(group) = only(all, "group") else { continue };
            for user in self.members(group)? {
                let login = user.strip_prefix(&self.before).and_then(|rest| rest.strip_suffix(&self.after));
                let Some(login) = login.and_then(|login| login.parse().ok()) else { continue };
                holders.push(Holder { login, parameters: all.clone() });
            }
        }
        Ok(holders)
    }

    fn grant(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let group = only(&act.parameters, "group")?;
        let user = self.user(&act.login);
        // To add a member again changes nothing.
        match self.iam.call("AddUserToGroup", &[("GroupName", group), ("UserName", &user)]) {
            Ok(_) => Ok(None),
            Err(IamProblem::NoSuchEntity(why)) => Err(NotDone::Failed(why)),
            Err(IamProblem::NotDone(why)) => Err(why),
        }
    }

    fn revoke(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let group = only(&act.parameters, "group")?;
        let user = self.user(&act.login);
        match self.iam.call("RemoveUserFromGroup", &[("GroupName", group), ("UserName", &user)]) {
            Ok(_) => Ok(None),
            // The group, the user or the membership is not there.
            Err(IamProblem::NoSuchEntity(why)) => {
                if self.members(group)?.contains(&user) {
                    Err(NotDone::Failed(why))
                } else {
                    Ok(None)
                }
            }
            Err(IamProblem::NotDone(why)) => Err(why),
        }
    }
}

impl AwsIamGroup {
    fn user(&self, login: &Login) -> String {
        format!("{}{login}{}", self.before, self.after)
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
