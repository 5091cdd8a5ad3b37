//! AWS: permission sets of IAM Identity Center, assigned to users in accounts.

mod api;

use std::collections::BTreeMap;

use clap::Args;
use serde_json::Value;

use self::api::{Assignment, AssignmentChange, IdentityCenterApi, text};
use super::aws::{AwsArgs, shown};
use super::parameters::exactly;
use super::protocol::{Holder, Provision};
use super::user_name::{UserNames, no_login};
use super::{GrantEffect, NotDone, System};
use crate::domain::binding::Parameters;
use crate::domain::member::Login;
use crate::error::{Failure, Kind};

/// AWS: a permission set of IAM Identity Center in an account (parameters: account, permission-set)
#[derive(Debug, Args)]
pub struct AwsIdentityCenterArgs {
    /// The region of Identity Center
    #[arg(long)]
    pub region: String,
    /// The instance, if this account sees several
    #[arg(long, value_name = "ARN")]
    pub instance: Option<String>,
    /// One endpoint for both services (default: those of the region)
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    #[command(flatten)]
    pub aws: AwsArgs,
    /// The user of a login
    #[arg(long, value_name = "NAME", default_value = "{login}")]
    pub user_name: String,
}

impl AwsIdentityCenterArgs {
    pub fn open(self) -> Result<AwsIdentityCenter, Failure> {
        let names = UserNames::parse(&self.user_name)?;
        let region = &self.region;
        if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(Failure::new(Kind::Usage, format!("--region is not valid: {region}")));
        }
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = |service: &'static str| {
            let url = self.url.clone().unwrap_or_else(|| format!("https://{service}.{region}.{domain}"));
            self.aws.endpoint(service, &url)
        };
        let (sso, store) = (endpoint("sso")?, endpoint("identitystore")?);
        let api = IdentityCenterApi::new(self.aws.client(region)?, sso, store, self.instance);
        Ok(AwsIdentityCenter { api, names, permission_sets: BTreeMap::new(), users: BTreeMap::new() })
    }
}

pub struct AwsIdentityCenter {
    api: IdentityCenterApi,
    names: UserNames,
    /// The names of permission sets, by their ARNs.
    permission_sets: BTreeMap<String, String>,
    /// The names of users, by their IDs. None: the user is gone.
    users: BTreeMap<String, Option<String>>,
}

/// What the end of an assignment does not end.
const SESSIONS: &str = "open sessions last until they expire, at most 12 hours";

impl System for AwsIdentityCenter {
    fn list(&mut self, parameters: &[Parameters]) -> Result<Vec<Holder>, NotDone> {
        let mut holders = Vec::new();
        for all in parameters {
            // Nobody holds parameters that no operation accepts.
            let Ok((account, name)) = account_and_name(all) else { continue };
            let Some(permission_set) = self.permission_set(name)? else { continue };
            for user in self.api.users_of(account, &permission_set)?.unwrap_or_default() {
                let login = match self.user_name(&user)? {
                    Some(name) => self.names.holder(&name),
                    None => no_login("user", &user),
                };
                holders.push(Holder { login, parameters: all.clone() });
            }
        }
        Ok(holders)
    }

    fn grant(&mut self, act: &Provision) -> Result<GrantEffect, NotDone> {
        let (account, name) = account_and_name(&act.parameters)?;
        let Some(permission_set) = self.permission_set(name)? else {
            return Err(NotDone::Failed(format!("there is no permission set {name}")));
        };
        let Some(user) = self.user(&act.login)? else {
            return Err(NotDone::Failed(format!("there is no user {}", self.names.of(&act.login))));
        };
        let assignment = Assignment { account: account.to_owned(), permission_set, user };
        let is_new = self.change(AssignmentChange::Create, &assignment)?;
        Ok(if is_new { GrantEffect::Given } else { GrantEffect::WasThere })
    }

    fn revoke(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let (account, name) = account_and_name(&act.parameters)?;
        // A permission set can be deleted only when nobody has it.
        let Some(permission_set) = self.permission_set(name)? else { return Ok(None) };
        let Some(user) = self.user(&act.login)? else {
            // A user that was renamed still has it.
            let users = self.api.users_of(account, &permission_set)?.unwrap_or_default();
            return if users.is_empty() { Ok(None) } else { Err(self.names.gone(&act.login)) };
        };
        let assignment = Assignment { account: account.to_owned(), permission_set, user };
        Ok(self.change(AssignmentChange::Delete, &assignment)?.then(|| SESSIONS.to_owned()))
    }
}

impl AwsIdentityCenter {
    /// Returns whether AWS made the change. If not, everything was so already.
    fn change(&mut self, change: AssignmentChange, assignment: &Assignment) -> Result<bool, NotDone> {
        let refused = match self.api.change(change, assignment) {
            Ok(status) => match self.wait(change, status)? {
                None => return Ok(true),
                Some(why) => NotDone::Failed(format!("AWS could not do it: {why}")),
            },
            Err(why) => why,
        };
        // AWS refuses to assign what is assigned, and to delete what is not.
        let wanted = matches!(change, AssignmentChange::Create);
        if self.is_there(assignment)? == wanted { Ok(false) } else { Err(refused) }
    }

    /// Waits until AWS has made the change. Returns why it failed, if it did.
    fn wait(&mut self, change: AssignmentChange, mut status: Value) -> Result<Option<String>, NotDone> {
        let id = text(&status, "RequestId").unwrap_or_default().to_owned();
        let mut pauses = self.api.patience().pauses();
        loop {
            match text(&status, "Status") {
                Some("SUCCEEDED") => return Ok(None),
                Some("FAILED") => return Ok(Some(shown(text(&status, "FailureReason").unwrap_or_default()))),
                _ => {}
            }
            if !pauses.wait() {
                return Err(NotDone::Later("AWS has not finished the change yet".to_owned()));
            }
            // It goes on, even if its status can't be read.
            if let Some(next) = self.api.status(change, &id).map_err(NotDone::later)? {
                status = next;
            }
        }
    }

    /// Whether the assignment is there. While AWS is changing it, that is not known.
    fn is_there(&mut self, assignment: &Assignment) -> Result<bool, NotDone> {
        for change in [AssignmentChange::Create, AssignmentChange::Delete] {
            if self.api.is_under_way(change, assignment)? {
                return Err(NotDone::Later("AWS has not finished an earlier change yet".to_owned()));
            }
        }
        let users = self.api.users_of(&assignment.account, &assignment.permission_set)?;
        Ok(users.unwrap_or_default().contains(&assignment.user))
    }

    /// The ARN of a permission set, by its name or its ARN.
    fn permission_set(&mut self, name: &str) -> Result<Option<String>, NotDone> {
        if name.starts_with("arn:") {
            return Ok(Some(name.to_owned()));
        }
        if self.permission_sets.is_empty() {
            for arn in self.api.permission_sets()? {
                if let Some(name) = self.api.permission_set_name(&arn)? {
                    self.permission_sets.insert(arn, name);
                }
            }
        }
        let mut sets = self.permission_sets.iter();
        Ok(sets.find(|(_, known)| *known == name).map(|(arn, _)| arn.clone()))
    }

    /// The ID of a login's user.
    fn user(&mut self, login: &Login) -> Result<Option<String>, NotDone> {
        let name = self.names.of(login);
        if let Some((id, _)) = self.users.iter().find(|(_, known)| known.as_ref() == Some(&name)) {
            return Ok(Some(id.clone()));
        }
        let Some(id) = self.api.user_id(&name)? else { return Ok(None) };
        let exact = self.user_name(&id)?.is_some_and(|found| found == name);
        Ok(exact.then_some(id))
    }

    fn user_name(&mut self, id: &str) -> Result<Option<String>, NotDone> {
        if let Some(name) = self.users.get(id) {
            return Ok(name.clone());
        }
        let name = self.api.user_name(id)?;
        self.users.insert(id.to_owned(), name.clone());
        Ok(name)
    }
}

fn account_and_name(parameters: &Parameters) -> Result<(&str, &str), NotDone> {
    let [account, name] = exactly(parameters, ["account", "permission-set"])?;
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotDone::Failed("the parameter account has 12 digits".to_owned()));
    }
    Ok((account, name))
}
