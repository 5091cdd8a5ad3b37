//! `request`: asking for access.

use super::{Call, Problem, Sink, member, view};
use crate::command::{AskFor, End, RequestView};
use crate::domain::decide::{self, Ask};
use crate::domain::entitlement::{Person, Thing};
use crate::domain::event::Draft;
use crate::domain::name::Name;
use crate::domain::refusal::Refusal;
use crate::domain::request::{Recorded, Request};
use crate::domain::resource::Resource;
use crate::domain::team_file::nearest;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::store::Read;

pub fn request(call: &Call<'_>, ask: AskFor, sink: Sink<'_>) -> Result<End, Failure> {
    let (view, warnings) = if ask.dry_run {
        // Nothing is attempted, so a refusal is not recorded either.
        call.store
            .read(|read| -> Result<_, Problem> {
                let me = call.actor(read)?;
                let now = call.now(read)?;
                let prepared = submit(read, &me, &ask, now)?;
                Ok((prepared.view(now), prepared.warnings()))
            })
            .map_err(|problem| match problem {
                Problem::Refusal(refusal) => refusal.into(),
                Problem::Failure(failure) => failure,
            })?
    } else {
        call.change(
            "request",
            None,
            |read, me, now| {
                let prepared = submit(read, me, &ask, now)?;
                let answer = (prepared.view(now), prepared.warnings());
                Ok((prepared.drafts, answer))
            },
            |_, answer, _| Ok(answer),
        )?
    };
    view::send(view, sink)?;
    Ok(End { warnings, ..End::default() })
}

/// A request that may be filed.
struct Prepared {
    request: Request,
    admins: Vec<Person>,
    drafts: Vec<Draft>,
}

impl Prepared {
    fn view(&self, now: Timestamp) -> RequestView {
        view::of(self.request.clone(), &self.admins, now)
    }

    fn warnings(&self) -> Vec<String> {
        let nobody = decide::deciders(&self.admins, &self.request, self.request.submitted_at).is_empty();
        let warning = "nobody can decide on this request: the team has no other admin than those who asked";
        if nobody { vec![warning.to_owned()] } else { Vec::new() }
    }
}

fn submit(read: &Read<'_>, me: &Person, ask: &AskFor, now: Timestamp) -> Result<Prepared, Problem> {
    let resource = &ask.terms.resource;
    let requester = match &ask.requester {
        Some(name) if *name != me.name => {
            // Before anything about that member or the resource is told.
            decide::needs_admin(me, "file a request for somebody else", now)?;
            member(read, name)?
        }
        Some(_) | None => me.clone(),
    };
    let thing = thing(read, resource)?;
    let pending = read.pending_request(&requester.name, resource, now)?;
    let admins = read.admins()?;
    let request = Request {
        id: read.next_request()?,
        requester: requester.name.clone(),
        filed_by: me.name.clone(),
        asked: ask.terms.clone(),
        reason: ask.reason.clone(),
        ticket: ask.ticket.clone(),
        submitted_at: now,
        lapses_at: decide::lapses_at(now),
        recorded: Recorded::Pending,
        decisions: Vec::new(),
        grant: None,
    };
    let able = admins.iter().filter(|person| decide::needs_admin(person, "", now).is_ok());
    let told: Vec<Name> = able.map(|person| person.name.clone()).collect();
    let asked = Ask { terms: ask.terms.clone(), reason: ask.reason.clone(), ticket: ask.ticket.clone() };
    let drafts = decide::submit(request.id, &asked, me, &requester, &thing, pending.as_ref(), &told, now)?;
    Ok(Prepared { request, admins, drafts })
}

/// What the catalogue says of a resource, or that it has none such, and which are like it.
pub fn thing(read: &Read<'_>, resource: &Resource) -> Result<Thing, Problem> {
    if let Some(thing) = read.thing(resource)? {
        return Ok(thing);
    }
    let names: Vec<String> = read.resource_names()?.iter().map(ToString::to_string).collect();
    let asked = resource.to_string();
    let mut likely: Vec<String> = Vec::new();
    // The same name of another kind, then the likest of this kind, then of all.
    likely.extend(names.iter().filter(|name| name.split_once(':').is_some_and(|(_, n)| n == resource.name())).cloned());
    let kind = format!("{}:", resource.kind());
    let of_kind = names.iter().filter_map(|name| name.strip_prefix(&kind));
    likely.extend(nearest(resource.name(), of_kind).map(|near| format!("{kind}{near}")));
    if likely.is_empty() {
        likely.extend(nearest(&asked, names.iter().map(String::as_str)));
    }
    likely.dedup();
    Err(Refusal::NoSuchResource { resource: resource.clone(), nearest: likely }.into())
}
