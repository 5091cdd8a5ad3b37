//! Shell completions that the caller may see. Never writes, not even refusals.

use serde::{Deserialize, Serialize};

use super::list::only;
use super::policy_context::PolicyContext;
use super::queue::waiting;
use super::{Call, Problem, Rows, Service, recertify, review};
use crate::domain::grant::State;
use crate::domain::request::{Request, authorize, lifecycle};
use crate::domain::resource::{Resource, ResourceKind};
use crate::error::Failure;
use crate::protocol::ListFilter;
use crate::store::Page;

/// About the most requests that a shell is offered.
const MOST: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Words {
    Resources,
    Scopes,
    Members,
    /// Pending requests that the caller may decide on.
    Decidable,
    /// Emergencies that need a review.
    Reviewable,
    /// The caller's own grants that can be extended.
    Extendable,
    /// The caller's own pending requests.
    Withdrawable,
    /// Grants that the caller may revoke.
    Revocable,
    Requests,
    /// Items of recertifications that the caller may decide on.
    Items,
    Recertifications,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Candidate {
    pub word: String,
    pub help: Option<String>,
}

/// The names that a shell may complete to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Complete {
    pub words: Words,
}

impl Call for Complete {
    const NAME: &'static str = "Complete";

    type Row = Candidate;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, Candidate>) -> Result<(), Failure> {
        let Complete { words } = self;
        let found = service.store.read(|read| -> Result<Vec<(String, Option<String>)>, Problem> {
            let me = service.actor(read)?;
            authorize::may_act(&me)?;
            let now = service.now(read)?;
            let named =
                |resources: Vec<Resource>| resources.into_iter().map(|resource| (resource.to_string(), None)).collect();
            let policy = PolicyContext::default();
            let described = |request: Request| {
                (request.id.to_string(), Some(format!("{} {}", request.requester, request.details.asked.resource)))
            };
            let mut found = Vec::new();
            let wanted: &dyn Fn(&Request) -> Result<bool, Problem> = match words {
                Words::Resources => return Ok(named(read.resource_names()?)),
                Words::Scopes => {
                    let mut scopes = read.resource_names()?;
                    scopes.retain(|resource| resource.kind() == ResourceKind::Scope);
                    return Ok(scopes.into_iter().map(|scope| (scope.name().to_owned(), None)).collect());
                }
                Words::Members => {
                    return Ok(read.member_names()?.into_iter().map(|name| (name.to_string(), None)).collect());
                }
                Words::Decidable => {
                    let mut after = None;
                    loop {
                        let (waiting, next) = waiting(read, &policy, &me, after, now)?;
                        found.extend(waiting.into_iter().map(described));
                        if next.is_none() || found.len() >= MOST {
                            return Ok(found);
                        }
                        after = next;
                    }
                }
                Words::Items => return Ok(recertify::decidable(read, &me, now)?),
                Words::Recertifications => return Ok(recertify::named(read, &me, now)?),
                Words::Reviewable => &|request| {
                    Ok(request.owes_review() && review::reviewers(read, &policy, request, now)?.contains(&me.name))
                },
                Words::Withdrawable => &|request| Ok(request.state(now) == State::Pending && request.belongs_to(&me)),
                Words::Revocable => &|request| {
                    Ok(matches!(request.state(now), State::Active | State::Scheduled)
                        && (request.is_requested_by(&me) || authorize::needs_admin(&me, "", now).is_ok()))
                },
                Words::Extendable => &|request| Ok(lifecycle::extended(request, &me, None, now).is_ok()),
                Words::Requests => &|_| Ok(true),
            };
            let states = match words {
                Words::Withdrawable => vec![State::Pending],
                Words::Revocable | Words::Extendable => vec![State::Active, State::Scheduled],
                Words::Resources
                | Words::Scopes
                | Words::Members
                | Words::Decidable
                | Words::Reviewable
                | Words::Items
                | Words::Recertifications
                | Words::Requests => Vec::new(),
            };
            let filter = ListFilter { all: words == Words::Requests, states, ..ListFilter::default() };
            let only = only(read, &policy, &me, &filter, now)?;
            let mut before = i64::MAX;
            loop {
                let Page { rows, last } = read.requests_before(&filter, only.as_ref(), before, usize::MAX, now)?;
                before = rows.last().map_or(before, |request| request.id.get());
                for request in rows {
                    if wanted(&request)? {
                        found.push(described(request));
                    }
                }
                if last || found.len() >= MOST {
                    return Ok(found);
                }
            }
        });
        for (word, help) in found.unwrap_or_default() {
            rows(Candidate { word, help })?;
        }
        Ok(())
    }
}
