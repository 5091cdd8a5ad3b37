//! What a shell may complete to, as far as the caller may know of it. Never writes, refusals included.

use super::{Call, Problem, Sink};
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
        let wanted: &dyn Fn(&Request) -> bool = match words {
            Words::Resources => return Ok(named(read.resource_names()?)),
            Words::Scopes => {
                let mut scopes = read.resource_names()?;
                scopes.retain(|resource| resource.kind() == Kind::Scope);
                return Ok(scopes.into_iter().map(|scope| (scope.name().to_owned(), None)).collect());
            }
            Words::Members => {
                return Ok(read.member_names()?.into_iter().map(|name| (name.to_string(), None)).collect());
            }
            Words::Decidable => &|request| {
                request.state(now) == State::Pending && decide::may_decide(&me, request, &request.asked, now).is_ok()
            },
            Words::Withdrawable => &|request| request.state(now) == State::Pending && request.belongs_to(&me.name),
            Words::Revocable => &|request| {
                matches!(request.state(now), State::Active | State::Scheduled)
                    && (request.requester == me.name || decide::needs_admin(&me, "", now).is_ok())
            },
            Words::Requests => &|_| true,
        };
        let only = if decide::needs_admin(&me, "", now).is_ok() { None } else { Some(&me.name) };
        let filter = ListFilter { all: words == Words::Requests, ..ListFilter::default() };
        let page = read.requests_before(&filter, only, i64::MAX, now)?;
        let described = |request: Request| {
            (request.id.to_string(), Some(format!("{} {}", request.requester, request.asked.resource)))
        };
        Ok(page.rows.into_iter().filter(wanted).map(described).collect())
    });
    for (word, help) in found.unwrap_or_default() {
        sink(Reply::Word { word, help })?;
    }
    Ok(End::default())
}
