//! Recertifications: campaigns in which people review what others hold. What nobody keeps is taken away.

use std::collections::BTreeSet;
use std::fmt;
use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::member::{Assignee, Login};
use super::name::Name;
use super::principal::Principal;
use super::resource::Resource;
use super::role::Role;
use super::terms::RequestId;
use super::text::{LONGEST_REPEATED, Text, shortened};
use super::time::Timestamp;
use super::{Malformed, read_by_parsing};

/// 1, 2, 3 …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct RecertificationId(i64);

impl RecertificationId {
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for RecertificationId {
    type Error = Malformed;
    fn try_from(id: i64) -> Result<RecertificationId, Malformed> {
        if (1..i64::MAX).contains(&id) {
            Ok(RecertificationId(id))
        } else {
            Err(Malformed::new("a recertification's number is 1 or more"))
        }
    }
}

impl From<RecertificationId> for i64 {
    fn from(id: RecertificationId) -> i64 {
        id.0
    }
}

impl FromStr for RecertificationId {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<RecertificationId, Malformed> {
        match text.parse::<i64>() {
            Ok(number) if number < i64::MAX => number.try_into(),
            Ok(_) => Err(too_large("recertification", text)),
            Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err(too_large("recertification", text)),
            Err(_) => {
                Err(Malformed::new("a recertification is named by its number, as `access recertify list` shows it"))
            }
        }
    }
}

impl fmt::Display for RecertificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// There is none with a number that is too large for one.
fn too_large(what: &str, number: &str) -> Malformed {
    Malformed::names_nothing(format!("there is no {what} {}", shortened(number, LONGEST_REPEATED)))
        .hint("`access recertify list --all` shows the recertifications that you may see")
}

/// One item of a recertification, written `1.4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemId {
    pub recertification: RecertificationId,
    /// Its place in the recertification, from 1.
    pub number: u32,
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.recertification, self.number)
    }
}

impl FromStr for ItemId {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<ItemId, Malformed> {
        let item = || Malformed::new("an item is written as `access recertify show` does, such as 1.4");
        let (recertification, number) = text.split_once('.').ok_or_else(item)?;
        if [recertification, number].iter().any(|part| part.starts_with(['+', '0'])) {
            return Err(item());
        }
        let number = number.parse().map_err(|error: ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => too_large("item", text),
            _ => item(),
        })?;
        Ok(ItemId { recertification: recertification.parse()?, number })
    }
}

read_by_parsing!(ItemId);

impl Serialize for ItemId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What one member holds by one grant, or by one line of the team file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    Grant {
        request: RequestId,
        resource: Resource,
        /// None: permanently.
        until: Option<Timestamp>,
    },
    /// By the team file, and above the lowest.
    Role(Role),
    Group(Name),
    /// Assigned to the member by name.
    Scope(Name),
}

impl Held {
    pub fn request(&self) -> Option<RequestId> {
        match self {
            Held::Grant { request, .. } => Some(*request),
            Held::Role(_) | Held::Group(_) | Held::Scope(_) => None,
        }
    }

    pub fn is_about_a_role(&self) -> bool {
        matches!(self, Held::Role(_) | Held::Grant { resource: Resource::Role(_), .. })
    }

    /// What to change in the team file to take it away. None: it is a grant.
    pub fn team_change(&self, member: &Name) -> Option<String> {
        match self {
            Held::Grant { .. } => None,
            Held::Role(role) => Some(format!("[members.{member}] role: lower it from \"{role}\"")),
            Held::Group(group) => Some(format!("[groups.{group}] members: remove \"{member}\"")),
            Held::Scope(scope) => Some(format!("[scopes.{scope}] assigned: remove \"member:{member}\"")),
        }
    }

    /// `target:orders-db`, without the request that gave it.
    pub fn without_request(&self) -> String {
        match self {
            Held::Grant { resource, .. } => resource.to_string(),
            Held::Role(role) => format!("role:{role}"),
            Held::Group(group) => format!("group:{group}"),
            Held::Scope(scope) => format!("scope:{scope}"),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_request())?;
        match self.request() {
            Some(request) => write!(f, " (request {request})"),
            None => Ok(()),
        }
    }
}

/// What is to be reviewed. A part of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemToReview {
    pub member: Name,
    /// The Unix user of the member at the start.
    pub login: Login,
    pub held: Held,
    /// Each of these who is another person may review it.
    pub reviewers: BTreeSet<Assignee>,
}

impl ItemToReview {
    /// Whether the team file still gives it to the member of the start. `seq`: the entry that started the review.
    pub fn is_in_team_of(&self, principal: &Principal, seq: i64) -> bool {
        let is_same_person =
            principal.name == self.member && principal.member.login == self.login && principal.since < seq;
        is_same_person
            && !principal.is_disabled()
            && match &self.held {
                Held::Grant { .. } => false,
                Held::Role(role) => principal.member.role >= *role,
                Held::Group(group) => principal.groups.contains(group),
                Held::Scope(scope) => {
                    let by_name = Assignee::Member(self.member.clone());
                    principal.scopes.get(scope).is_some_and(|scope| scope.assigned.contains(&by_name))
                }
            }
    }
}

/// Whose holdings are reviewed, and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Grants that do not end before the due time, roles, memberships of groups, and scopes.
    All,
    /// Grants without an end.
    Permanent,
    /// All that gives this.
    Resource(Resource),
    /// All that the members of this group hold.
    Group(Name),
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selection::All => f.write_str("everything"),
            Selection::Permanent => f.write_str("permanent grants"),
            Selection::Resource(resource) => write!(f, "{resource}"),
            Selection::Group(group) => write!(f, "group:{group}"),
        }
    }
}

/// How a recertification begins. A part of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartedRecertification {
    pub recertification: RecertificationId,
    pub by: Name,
    pub selection: Selection,
    /// From then on nothing can be kept any more.
    pub due: Timestamp,
    /// When reviewers are reminded.
    pub remind_at: Timestamp,
    /// What was held at that moment.
    pub items: Vec<ItemToReview>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemVerdict {
    Keep,
    Revoke,
}

/// One reviewer's decision on one item. A part of events. It repeats what the item is, so that it can be read by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemDecision {
    pub item: ItemId,
    pub member: Name,
    pub held: Held,
    pub by: Name,
    pub verdict: ItemVerdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

/// The due time came. A part of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedRecertification {
    pub recertification: RecertificationId,
    /// The numbers of the items that nobody decided on, and that were still held.
    pub not_kept: Vec<u32>,
}

/// Who ended a recertification before it was due, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    pub by: Name,
    pub reason: Text,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemOutcome {
    Decided {
        by: Name,
        verdict: ItemVerdict,
        reason: Option<Text>,
        at: Timestamp,
    },
    /// Nobody decided until the due time.
    NotKept,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecertificationItem {
    pub item: ItemToReview,
    /// None: nobody decided on it so far, or it was no longer held.
    pub outcome: Option<ItemOutcome>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recertification {
    pub id: RecertificationId,
    /// The entry that starts it.
    pub seq: i64,
    pub started_at: Timestamp,
    pub by: Name,
    pub selection: Selection,
    pub due: Timestamp,
    /// None: reviewers were reminded.
    pub remind_at: Option<Timestamp>,
    pub closed_at: Option<Timestamp>,
    pub cancelled: Option<Cancellation>,
    pub items: Vec<RecertificationItem>,
}

impl Recertification {
    pub fn item(&self, number: u32) -> Option<&RecertificationItem> {
        self.items.get(index(number)?)
    }

    pub fn item_mut(&mut self, number: u32) -> Option<&mut RecertificationItem> {
        self.items.get_mut(index(number)?)
    }

    /// As it was at this time.
    pub fn as_of(mut self, at: Timestamp) -> Recertification {
        let was_closed = self.closed_at.is_some_and(|closed| closed <= at);
        if !was_closed {
            (self.closed_at, self.cancelled) = (None, None);
        }
        for item in &mut self.items {
            item.outcome = item.outcome.take().filter(|outcome| match outcome {
                ItemOutcome::Decided { at: decided, .. } => *decided <= at,
                ItemOutcome::NotKept => was_closed,
            });
        }
        self
    }

    /// The items with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (ItemId, &RecertificationItem)> {
        let id = |number| ItemId { recertification: self.id, number };
        (1..).map(id).zip(&self.items)
    }

    /// Whether items can still be decided on.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.closed_at.is_none() && now < self.due
    }
}

/// That these were due, and nobody closed them. None: there are none.
pub fn overdue(recertifications: &[Recertification]) -> Option<String> {
    let named = |it: &Recertification| format!("{} (due {})", it.id, it.due);
    let named: Vec<String> = recertifications.iter().map(named).collect();
    let (what, are) = if named.len() == 1 { ("recertification", "is") } else { ("recertifications", "are") };
    let held = "what nobody kept is still held";
    (!named.is_empty()).then(|| format!("{what} {} {are} overdue and not closed: {held}", named.join(", ")))
}

fn index(number: u32) -> Option<usize> {
    usize::try_from(number).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_written_in_one_way() {
        let id: ItemId = "12.4".parse().unwrap();
        assert_eq!((id.recertification.get(), id.number, id.to_string()), (12, 4, "12.4".to_owned()));
        for text in [
            "12",
            "12.",
            ".4",
            "12.0",
            "12.04",
            "12.+4",
            "+12.4",
            "012.4",
            "0.1",
            "-1.1",
            "12.4.1",
            "12.4294967296",
            "a.b",
        ] {
            assert!(text.parse::<ItemId>().is_err(), "{text}");
        }
    }
}
