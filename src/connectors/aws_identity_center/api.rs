//! Calls of IAM Identity Center and of its identity store: JSON 1.1.

use serde_json::{Value, json};

use crate::connectors::NotDone;
use crate::connectors::aws::{AwsClient, AwsEndpoint, AwsProblem, words};
use crate::connectors::patience::Patience;

pub struct IdentityCenterApi {
    client: AwsClient,
    /// What assigns permission sets to users.
    sso: AwsEndpoint,
    /// Who the users are.
    store: AwsEndpoint,
    /// The instance that the command line names.
    wanted: Option<String>,
    instance: Option<Instance>,
}

/// One installation of Identity Center.
#[derive(Clone)]
struct Instance {
    arn: String,
    store_id: String,
}

/// Who may use what in which account.
pub struct Assignment {
    pub account: String,
    pub permission_set: String,
    /// The ID of a user.
    pub user: String,
}

/// AWS carries these out in the background, and has a status for each.
#[derive(Clone, Copy)]
pub enum AssignmentChange {
    Create,
    Delete,
}

impl AssignmentChange {
    fn verb(self) -> &'static str {
        match self {
            AssignmentChange::Create => "Create",
            AssignmentChange::Delete => "Delete",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            AssignmentChange::Create => "Creation",
            AssignmentChange::Delete => "Deletion",
        }
    }
}

/// The most that one page holds.
const PAGE: u64 = 100;
/// The most pages of a list.
const PAGES: u32 = 1000;

impl IdentityCenterApi {
    pub fn new(client: AwsClient, sso: AwsEndpoint, store: AwsEndpoint, wanted: Option<String>) -> IdentityCenterApi {
        IdentityCenterApi { client, sso, store, wanted, instance: None }
    }

    pub fn patience(&self) -> Patience {
        self.client.patience()
    }

    /// The ARNs of all permission sets.
    pub fn permission_sets(&mut self) -> Result<Vec<String>, NotDone> {
        let body = self.of_instance(json!({}))?;
        let found = self.all("ListPermissionSets", body, "PermissionSets").map_err(AwsProblem::not_done)?;
        Ok(found.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    pub fn permission_set_name(&mut self, arn: &str) -> Result<Option<String>, NotDone> {
        let body = self.of_instance(json!({ "PermissionSetArn": arn }))?;
        let answer = found(call(&mut self.client, &mut self.sso, "DescribePermissionSet", &body))?;
        Ok(answer.and_then(|answer| text(&answer["PermissionSet"], "Name").map(str::to_owned)))
    }

    /// The IDs of the users to whom it is assigned themselves. None: the account or the permission set is not there.
    pub fn users_of(&mut self, account: &str, permission_set: &str) -> Result<Option<Vec<String>>, NotDone> {
        let body = self.of_instance(json!({ "AccountId": account, "PermissionSetArn": permission_set }))?;
        let Some(assignments) = found(self.all("ListAccountAssignments", body, "AccountAssignments"))? else {
            return Ok(None);
        };
        // A group's members are not listed here: they have it by the group.
        let users = assignments.iter().filter(|one| text(one, "PrincipalType") == Some("USER"));
        Ok(Some(users.filter_map(|one| text(one, "PrincipalId")).map(str::to_owned).collect()))
    }

    /// The ID of the user with this name. AWS may ignore case.
    pub fn user_id(&mut self, name: &str) -> Result<Option<String>, NotDone> {
        let unique = json!({ "UniqueAttribute": { "AttributePath": "userName", "AttributeValue": name } });
        let body = json!({ "IdentityStoreId": self.instance()?.store_id, "AlternateIdentifier": unique });
        let answer = found(call(&mut self.client, &mut self.store, "GetUserId", &body))?;
        Ok(answer.and_then(|answer| text(&answer, "UserId").map(str::to_owned)))
    }

    pub fn user_name(&mut self, id: &str) -> Result<Option<String>, NotDone> {
        let body = json!({ "IdentityStoreId": self.instance()?.store_id, "UserId": id });
        let answer = found(call(&mut self.client, &mut self.store, "DescribeUser", &body))?;
        Ok(answer.and_then(|answer| text(&answer, "UserName").map(str::to_owned)))
    }

    /// Asks for a change. Returns its status.
    pub fn change(&mut self, change: AssignmentChange, assignment: &Assignment) -> Result<Value, NotDone> {
        let body = self.of_instance(json!({
            "TargetId": assignment.account, "TargetType": "AWS_ACCOUNT", "PermissionSetArn": assignment.permission_set,
            "PrincipalType": "USER", "PrincipalId": assignment.user,
        }))?;
        let operation = format!("{}AccountAssignment", change.verb());
        let mut answer = call(&mut self.client, &mut self.sso, &operation, &body).map_err(AwsProblem::not_done)?;
        Ok(answer[format!("AccountAssignment{}Status", change.noun())].take())
    }

    /// None: AWS does not know the change yet.
    pub fn status(&mut self, change: AssignmentChange, id: &str) -> Result<Option<Value>, NotDone> {
        let noun = change.noun();
        let mut body = self.of_instance(json!({}))?;
        body[format!("AccountAssignment{noun}RequestId")] = id.into();
        let operation = format!("DescribeAccountAssignment{noun}Status");
        let answer = found(call(&mut self.client, &mut self.sso, &operation, &body))?;
        Ok(answer.map(|mut answer| answer[format!("AccountAssignment{noun}Status")].take()))
    }

    /// Whether AWS is carrying out such a change of this assignment.
    pub fn is_under_way(&mut self, change: AssignmentChange, assignment: &Assignment) -> Result<bool, NotDone> {
        let noun = change.noun();
        let body = self.of_instance(json!({ "Filter": { "Status": "IN_PROGRESS" } }))?;
        let listed = self
            .all(&format!("ListAccountAssignment{noun}Status"), body, &format!("AccountAssignments{noun}Status"))
            .map_err(AwsProblem::not_done)?;
        for id in listed.iter().filter_map(|one| text(one, "RequestId")) {
            let Some(status) = self.status(change, id)? else { continue };
            let same = text(&status, "TargetId") == Some(&assignment.account)
                && text(&status, "PermissionSetArn") == Some(&assignment.permission_set)
                && text(&status, "PrincipalId") == Some(&assignment.user);
            if same {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The same arguments, with the instance.
    fn of_instance(&mut self, mut arguments: Value) -> Result<Value, NotDone> {
        arguments["InstanceArn"] = self.instance()?.arn.into();
        Ok(arguments)
    }

    fn instance(&mut self) -> Result<Instance, NotDone> {
        if let Some(instance) = &self.instance {
            return Ok(instance.clone());
        }
        let found = self.all("ListInstances", json!({}), "Instances").map_err(AwsProblem::not_done)?;
        let instances = found.iter().filter_map(|one| {
            let (arn, store_id) = (text(one, "InstanceArn")?, text(one, "IdentityStoreId")?);
            Some(Instance { arn: arn.to_owned(), store_id: store_id.to_owned() })
        });
        let wanted: Vec<Instance> =
            instances.filter(|one| self.wanted.as_ref().is_none_or(|wanted| *wanted == one.arn)).collect();
        let [instance] = wanted.as_slice() else {
            let why = match wanted.len() {
                0 => "this account can't see such an instance of Identity Center: check --region and --instance"
                    .to_owned(),
                several => format!("there are {several} instances of Identity Center: choose one with --instance"),
            };
            return Err(NotDone::Failed(why));
        };
        self.instance = Some(instance.clone());
        Ok(instance.clone())
    }

    /// All pages of a list of the service that assigns.
    fn all(&mut self, operation: &str, mut body: Value, key: &str) -> Result<Vec<Value>, AwsProblem> {
        body["MaxResults"] = PAGE.into();
        let mut all = Vec::new();
        let mut token = Value::Null;
        for _ in 0..PAGES {
            let mut answer = call(&mut self.client, &mut self.sso, operation, &body)?;
            let Value::Array(page) = answer[key].take() else {
                let why = format!("the service answers {operation} without {key}: check --url");
                return Err(AwsProblem::NotDone(NotDone::Failed(why)));
            };
            all.extend(page);
            let next = answer["NextToken"].take();
            if next.is_null() {
                return Ok(all);
            }
            if next == token {
                break;
            }
            self.client.patience().check().map_err(AwsProblem::NotDone)?;
            body["NextToken"] = next.clone();
            token = next;
        }
        let why = format!("the service returns only a part of {key}");
        Err(AwsProblem::NotDone(NotDone::Failed(why)))
    }
}

/// None: it is not there.
fn found<T>(answer: Result<T, AwsProblem>) -> Result<Option<T>, NotDone> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(AwsProblem::Missing(_)) => Ok(None),
        Err(AwsProblem::NotDone(why)) => Err(why),
    }
}

pub fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

fn call(
    client: &mut AwsClient,
    endpoint: &mut AwsEndpoint,
    operation: &str,
    body: &Value,
) -> Result<Value, AwsProblem> {
    let target =
        format!("{}.{operation}", if endpoint.service == "sso" { "SWBExternalService" } else { "AWSIdentityStore" });
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &target)];
    let (status, text) = client.post(endpoint, &headers, &body.to_string()).map_err(AwsProblem::NotDone)?;
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    match answer {
        Value::Object(_) if status == 200 => Ok(answer),
        _ => Err(problem(status, &answer)),
    }
}

fn problem(status: u16, answer: &Value) -> AwsProblem {
    // Some services write `com.amazonaws.sso#ConflictException`.
    let code = text(answer, "__type").unwrap_or_default().rsplit('#').next().unwrap_or_default();
    let message = text(answer, "message").or(text(answer, "Message")).unwrap_or_default();
    let said = words(status, code, message);
    // A key of the encryption that is not there hides what is.
    let is_of_key = text(answer, "Reason").is_some_and(|reason| reason.starts_with("KMS"));
    match code {
        "ResourceNotFoundException" if !is_of_key => AwsProblem::Missing(said),
        // Another change, or an earlier one that AWS has not spread yet.
        "ConflictException" | "InternalServerException" | "ThrottlingException" => {
            AwsProblem::NotDone(NotDone::Later(said))
        }
        _ if status == 429 || status >= 500 => AwsProblem::NotDone(NotDone::Later(said)),
        _ => AwsProblem::NotDone(NotDone::Failed(said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_means() {
        let meaning = |status: u16, answer: Value| match problem(status, &answer) {
            AwsProblem::Missing(_) => "missing",
            AwsProblem::NotDone(NotDone::Later(_)) => "later",
            AwsProblem::NotDone(NotDone::Failed(_)) => "failed",
        };
        let named = |name: &str| json!({ "__type": name, "Message": "why" });
        assert_eq!(meaning(400, named("ResourceNotFoundException")), "missing");
        assert_eq!(meaning(400, named("com.amazonaws.swbexternalservice#ConflictException")), "later");
        assert_eq!(meaning(400, named("ThrottlingException")), "later");
        assert_eq!(meaning(400, named("AccessDeniedException")), "failed");
        assert_eq!(meaning(503, Value::Null), "later");
        assert_eq!(meaning(404, Value::Null), "failed", "no answer of this service");
        // The key that Identity Center is encrypted with.
        let of_key = json!({ "__type": "ResourceNotFoundException", "Reason": "KMS_KEY_NOT_FOUND", "Message": "why" });
        assert_eq!(meaning(400, of_key), "failed");
    }
}
