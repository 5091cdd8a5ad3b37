//! What a shell may complete to, as far as the caller may know of it. Never writes, refusals included.

use super::docket::Docket;
use super::list::only;
use super::{Call, Problem, Sink, review};
use crate::command::{End, ListFilter, Reply, Words};
use crate::domain::decide;
use crate::domain::request::{Request, State};
use crate::domain::resource::{Kind, Resource};
use crate::error::Failure;

pub fn words(call: &Call<'_>, words: Words, sink: Sink<'_>) -> Result<End, Failure> {
    let found = call.store.read(|read| -> Result<Vec<(String, Option<String>)>, Problem> {
        let me = call.actor(read)?;
        decide::may_act(&me)?;
        let now = call.now(read)?;
        let named =
            |resources: Vec<Resource>| resources.into_iter().map(|resource| (resource.to_string(), None)).collect();
        let docket = Docket::default();
        let waits_on_me = |request: &Request| -> Result<bool, Problem> {
            let terms = request.on_the_table();
            let judged = docket.judge(read, request, terms, now)?;
            Ok(decide::waits_on(&judged.standing(request, terms, now)).contains(&me.name))
        };
        let wanted: &dyn Fn(&Request) -> Result<bool, Problem> = match words {
            Words::Resources => return Ok(named(read.resource_names()?)),
            Words::Scopes => {
                let mut scopes = read.resource_names()?;
                scopes.retain(|resource| resource.kind() == Kind::Scope);
                return Ok(scopes.into_iter().map(|scope| (scope.name().to_owned(), None)).collect());
            }
            Words::Members => {
                return Ok(read.member_names()?.into_iter().map(|name| (name.to_string(), None)).collect());
            }
            Words::Decidable => &|request| Ok(request.state(now) == State::Pending && waits_on_me(request)?),
            Words::Reviewable => &|request| {
                Ok(request.owes_review() && review::reviewers(read, &docket, request, now)?.contains(&me.name))
            },
            Words::Withdrawable => &|request| Ok(request.state(now) == State::Pending && request.belongs_to(&me)),
            Words::Revocable => &|request| {
                Ok(matches!(request.state(now), State::Active | State::Scheduled)
                    && (request.is_requested_by(&me) || decide::needs_admin(&me, "", now).is_ok()))
            },
            Words::Extendable => &|request| Ok(decide::extended(request, &me, None, now).is_ok()),
            Words::Requests => &|_| Ok(true),
        };
        let states = match words {
            Words::Decidable | Words::Withdrawable => vec![State::Pending],
            Words::Revocable | Words::Extendable => vec![State::Active, State::Scheduled],
            Words::Resources | Words::Scopes | Words::Members | Words::Reviewable | Words::Requests => Vec::new(),
        };
        let filter = ListFilter { all: words == Words::Requests, states, ..ListFilter::default() };
        let only = only(read, &docket, &me, &filter, now)?;
        let page = read.requests_before(&filter, only.as_ref(), i64::MAX, usize::MAX, now)?;
        let described = |request: Request| {
            (request.id.to_string(), Some(format!("{} {}", request.requester, request.asked.resource)))
        };
        let mut found = Vec::new();
        for request in page.rows {
            if wanted(&request)? {
                found.push(described(request));
            }
        }
        Ok(found)
    });
    for (word, help) in found.unwrap_or_default() {
        sink(Reply::Word { word, help })?;
    }
    Ok(End::default())
}
