//! `access approve` without an ID: goes through the requests that wait for you.

use anyhow::Result;

use super::super::app::App;
use super::ApproveArgs;
use crate::domain::resource::{Resource, ResourceKind};
use crate::domain::terms::{End, Modification, RequestId};
use crate::domain::text::Text;
use crate::error::{Failure, Kind};
use crate::prompt::{Item, Prompt, cancelled};
use crate::protocol::{RequestView, ResourceView};
use crate::service::{Approve, Deny, Queue};

/// Whether to continue with the next request.
#[derive(PartialEq, Eq)]
enum Walk {
    On,
    Stop,
}

impl App {
    /// Each request that waits for the caller, those that lapse first at the front.
    pub(super) fn walk(&mut self, args: &ApproveArgs) -> Result<u8> {
        let changes = args.seen.is_some()
            || args.duration.is_some()
            || args.until.is_some()
            || args.scope.is_some()
            || args.resource.is_some()
            || args.signature.is_some()
            || args.print_terms;
        let prompt = self.prompt.filter(|_| !changes && !self.printer.is_json());
        let Some(prompt) = prompt else {
            let why = if changes { "changes need the ID of a request" } else { "ID is missing" };
            return Err(Failure::new(Kind::Usage, why)
                .hint("access approve ID…; `access list --pending` lists them")
                .hint("on a terminal and without --yes, `access approve` goes through all requests that wait for you")
                .into());
        };
        let mut ids: Vec<RequestId> = Vec::new();
        self.backend()?.call(Queue {}, &mut |id| {
            ids.push(id);
            Ok(())
        })?;
        if ids.is_empty() {
            self.printer.status("No requests wait for you");
            return Ok(0);
        }
        let mut code = 0;
        for (index, id) in ids.iter().enumerate() {
            match self.decide_next(prompt, *id, (index + 1, ids.len()), args.note.as_ref()) {
                Ok(Walk::On) => {}
                Ok(Walk::Stop) => break,
                Err(failure) => self.note_failure(Err(failure), true, &mut code)?,
            }
        }
        Ok(code)
    }

    /// Shows one of the requests that wait, asks, and does what is answered.
    fn decide_next(
        &mut self,
        prompt: Prompt,
        id: RequestId,
        (place, of): (usize, usize),
        note: Option<&Text>,
    ) -> Result<Walk, Failure> {
        let view = self.look_at(id)?;
        if view.may_decide != Some(true) {
            self.printer.status(&format!("Request {id} no longer waits for you"));
            return Ok(Walk::On);
        }
        if place > 1 {
            self.printer.status("");
        }
        self.preview_request(&view);
        let items = ["Approve", "Approve with changes …", "Deny …", "Skip", "Stop"].map(Item::new);
        loop {
            let chosen = prompt.choose(&format!("Request {id} ({place} of {of})"), &items, 3)?;
            let decided = match chosen {
                Some(0) => {
                    let (modification, note) = (Modification::default(), note.cloned());
                    let approve = Approve { id, modification, note, seen: view.seen(), signature: None };
                    self.approve(approve, Some(&view))?
                }
                Some(1) => match self.approve_with_changes(prompt, &view, note) {
                    Ok(true) => return Ok(Walk::On),
                    Ok(false) => continue,
                    Err(failure) => return Err(failure),
                },
                Some(2) => match prompt.optional_text("Why?", "the requester is notified; may stay empty", "") {
                    Ok(reason) => self.backend()?.answer(Deny { id, reason, seen: view.seen() })?,
                    Err(failure) if failure == cancelled() => continue,
                    Err(failure) => return Err(failure),
                },
                Some(3) => return Ok(Walk::On),
                Some(_) | None => return Ok(Walk::Stop),
            };
            self.print_submitted(&decided, &[], false)?;
            // Not once the last one is decided: that may take a while.
            self.start_reconciler();
            return Ok(Walk::On);
        }
    }

    /// Asks what to change until it is approved. False: the user goes back, and nothing was done.
    fn approve_with_changes(
        &mut self,
        prompt: Prompt,
        view: &RequestView,
        note: Option<&Text>,
    ) -> Result<bool, Failure> {
        let covering = self.offered(Some(view.resource.clone()))?;
        let mut changes = Modification::default();
        let mut note = note.cloned();
        // Approving is not preselected: you came here to change something first.
        let mut at = 0;
        loop {
            let terms = Proposed::of(view, &changes);
            let covers = |granted: &Resource| covering.iter().any(|covering| covering.resource == *granted);
            let covers = terms.resource == view.resource || covers(&terms.resource);
            let lost = if covers { String::new() } else { format!(", without {}", view.resource) };
            let items = [
                Item::with("How long", terms.how_long()),
                Item::with("Scope", terms.scope()),
                Item::with("Resource", terms.resource.to_string()),
                Item::with("Note", note.as_ref().map_or("none", Text::as_str)),
                Item::new(format!("Approve {} {}{lost}", terms.resource, terms.for_how_long())),
                Item::new("Back"),
            ];
            let chosen = prompt.choose_silently("Change what?", &items, at)?;
            let asked = match chosen {
                Some(0) => self.other_length(prompt, &terms).map(|end| changes.end = Some(end)),
                Some(1) => other_scope(prompt, view, &covering).map(|scope| changes.resource = Some(scope)),
                Some(2) => self.other_resource(prompt).map(|resource| changes.resource = Some(resource)),
                Some(3) => {
                    let before = note.as_ref().map_or("", Text::as_str).to_owned();
                    prompt
                        .optional_text("Note?", "the requester is notified; may stay empty", &before)
                        .map(|word| note = word)
                }
                Some(4) => {
                    let (modification, note) = (changes.clone(), note.clone());
                    let approve = Approve { id: view.id, modification, note, seen: view.seen(), signature: None };
                    match self.approve(approve, Some(view)) {
                        Ok(approved) => {
                            self.print_submitted(&approved, &[], false)?;
                            self.start_reconciler();
                            return Ok(true);
                        }
                        // Other changes may be possible; what was chosen is kept.
                        Err(failure) if matches!(failure.kind, Kind::Refused | Kind::Usage | Kind::NotFound) => {
                            self.printer.fail(&failure);
                            Ok(())
                        }
                        Err(failure) => return Err(failure),
                    }
                }
                Some(_) | None => return Ok(false),
            };
            match asked {
                Ok(()) => {}
                Err(failure) if failure == cancelled() => {}
                Err(failure) if failure.kind == Kind::NotFound => self.printer.fail(&failure),
                Err(failure) => return Err(failure),
            }
            at = 4;
        }
    }

    fn other_length(&self, prompt: Prompt, terms: &Proposed) -> Result<End, Failure> {
        const LIKE: &str = "such as 90m, 2d12h, 17:00 or permanent";
        let check = |text: &str| self.read_end(text, LIKE).map(drop);
        let initial = match terms.end {
            End::After(length) => length.to_string(),
            End::Never => "permanent".to_owned(),
            End::At(_) => String::new(),
        };
        let text = prompt.input("For how long?", LIKE, &initial, &check)?.ok_or_else(cancelled)?;
        self.read_end(&text, LIKE).map_err(|why| Failure::new(Kind::Usage, why))
    }

    fn other_resource(&self, prompt: Prompt) -> Result<Resource, Failure> {
        let mut offered = self.offered(None)?;
        offered.iter_mut().for_each(forget_own);
        prompt.resource("Which resource?", &offered)?.ok_or_else(cancelled)
    }
}

/// A scope that covers what was asked, the narrowest first.
fn other_scope(prompt: Prompt, view: &RequestView, covering: &[ResourceView]) -> Result<Resource, Failure> {
    let narrowest = view.narrowest_scope.clone().map(Resource::Scope);
    let is_narrowest = |offered: &ResourceView| Some(&offered.resource) == narrowest.as_ref();
    let mut offered = covering.to_vec();
    offered.retain(|offered| offered.resource.kind() == ResourceKind::Scope);
    offered.sort_by_key(|offered| !is_narrowest(offered));
    for offered in &mut offered {
        forget_own(offered);
        if is_narrowest(offered) {
            offered.about = format!("the narrowest that covers {}", view.resource);
        }
    }
    if offered.is_empty() {
        return Err(Failure::new(Kind::NotFound, format!("no scope covers {}", view.resource)));
    }
    prompt.resource("Which scope?", &offered)?.ok_or_else(cancelled)
}

/// The approver's own access is irrelevant for what others get.
fn forget_own(offered: &mut ResourceView) {
    (offered.held, offered.pending) = (false, None);
}

/// What would be granted.
pub(super) struct Proposed {
    pub(super) resource: Resource,
    pub(super) end: End,
}

impl Proposed {
    pub(super) fn of(view: &RequestView, changes: &Modification) -> Proposed {
        let (resource, duration, until) = match &view.on_the_table {
            Some(terms) => (&terms.resource, &terms.duration, terms.until),
            None => (&view.resource, &view.duration, view.until),
        };
        let end = match (until, duration.as_deref().map(str::parse)) {
            (Some(until), _) => End::At(until),
            (None, Some(Ok(length))) => End::After(length),
            (None, _) => End::Never,
        };
        Proposed {
            resource: changes.resource.clone().unwrap_or_else(|| resource.clone()),
            end: changes.end.unwrap_or(end),
        }
    }

    fn how_long(&self) -> String {
        match self.end {
            End::After(length) => length.to_string(),
            End::At(time) => format!("until {}", crate::time_format::date_and_time(time)),
            End::Never => "permanent".to_owned(),
        }
    }

    fn for_how_long(&self) -> String {
        match self.end {
            End::After(length) => format!("for {length}"),
            End::At(_) => self.how_long(),
            End::Never => "permanently".to_owned(),
        }
    }

    fn scope(&self) -> String {
        match &self.resource {
            Resource::Scope(name) => name.to_string(),
            Resource::Connection(_) | Resource::Target(_) | Resource::Feature(_) | Resource::Role(_) => {
                "none".to_owned()
            }
        }
    }
}
