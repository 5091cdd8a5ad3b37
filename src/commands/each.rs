//! Runs a command for each of several requests.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::app::App;
use crate::domain::grant::State;
use crate::domain::terms::RequestId;
use crate::domain::text::Text;
use crate::error::{Failure, Kind};
use crate::prompt::{Prompt, cancelled};
use crate::protocol::{RequestView, Seen};

/// A request as it was read before the command.
pub struct ReadRequest {
    pub view: RequestView,
    pub seen: Option<Seen>,
    /// Whether the user saw it and said yes.
    pub is_confirmed: bool,
}

/// The same command for each request, each in its own transaction.
///
/// On a terminal each request is shown first, and `ask` returns the user's choice; None: no. If the command would be refused
/// anyway (not `worth_asking`), it does not ask. `look` may add to what is shown, and returns the state that was shown. `act`
/// does it, once the user has said yes; it gets what they chose, and the request as it was read.
/// A request that ended with an earlier one of these is done. An ID that is given twice counts once.
pub fn each<T>(
    app: &mut App,
    ids: &[RequestId],
    look: impl Fn(&App, &mut RequestView) -> Result<Option<Seen>, Failure>,
    worth_asking: impl Fn(&RequestView) -> bool,
    ask: impl Fn(&Prompt, &RequestView) -> Result<Option<T>, Failure>,
    act: impl Fn(&mut App, RequestId, Option<T>, Option<ReadRequest>) -> Result<RequestView, Failure>,
) -> Result<u8> {
    let many = ids.len() > 1;
    let ids = &distinct(ids);
    let prompt = app.prompt;
    if many && app.printer.is_json() {
        if prompt.is_some() {
            let why = "with --json, several requests can't be confirmed one by one";
            return Err(Failure::new(Kind::Usage, why).hint("add --yes to confirm all of them").into());
        }
        return each_in_json(app, ids, |app, id| act(app, id, None, None));
    }
    let mut code = 0;
    let mut ended_with = BTreeMap::new();
    for &id in ids {
        if let Some(earlier) = ended_with.get(&id) {
            app.printer.status(&format!("Request {id} ended with request {earlier}"));
            continue;
        }
        let done = (|| -> Result<(), Failure> {
            let (mut chosen, mut request) = (None, None);
            if let Some(prompt) = &prompt {
                let mut view = app.look_at(id)?;
                let seen = look(app, &mut view)?;
                let is_confirmed = worth_asking(&view);
                if is_confirmed {
                    app.preview_request(&view);
                    chosen = Some(ask(prompt, &view)?.ok_or_else(cancelled)?);
                }
                request = Some(ReadRequest { view, seen, is_confirmed });
            }
            let view = act(app, id, chosen, request)?;
            ended_with.extend(view.also_ended.iter().map(|also| (also.id, id)));
            app.print_submitted(&view, &[], false)
        })();
        app.note_failure(done, many, &mut code)?;
    }
    Ok(code)
}

/// Each ID once, at its first place.
pub fn distinct(ids: &[RequestId]) -> Vec<RequestId> {
    let mut met = BTreeSet::new();
    ids.iter().copied().filter(|&id| met.insert(id)).collect()
}

/// The successes as one array on stdout, the failures as objects on stderr. A request that ended with an earlier one is in
/// `also_ended` of that one.
fn each_in_json(
    app: &mut App,
    ids: &[RequestId],
    act: impl Fn(&mut App, RequestId) -> Result<RequestView, Failure>,
) -> Result<u8> {
    let mut answers = Vec::new();
    let mut ended = BTreeSet::new();
    for id in ids {
        if !ended.contains(id) {
            let answer = act(app, *id);
            if let Ok(view) = &answer {
                app.access_changed |= matches!(view.state, State::Active | State::Revoked);
                ended.extend(view.also_ended.iter().map(|also| also.id));
            }
            answers.push(answer);
        }
    }
    let mut code = 0;
    let mut list = app.printer.list();
    for answer in answers {
        match answer.and_then(|view| list.item(&view, |_| {})) {
            Ok(()) => {}
            Err(failure) => {
                list.fail(&failure);
                code = if code == 0 { failure.kind.exit_code() } else { code };
            }
        }
    }
    list.end()?;
    Ok(code)
}

impl App {
    /// A failure doesn't stop the other requests. The exit code is that of the first failure.
    pub fn note_failure(&mut self, done: Result<(), Failure>, many: bool, code: &mut u8) -> Result<(), Failure> {
        match done {
            Ok(()) => Ok(()),
            Err(failure) if many && failure.kind != Kind::Interrupted => {
                // An output that can't be written is reported once, at the end.
                if !self.printer.is_broken() {
                    self.printer.fail(&failure);
                }
                if *code == 0 {
                    *code = failure.kind.exit_code();
                }
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Asks yes or no, and then why, unless the reason is given.
pub fn with_reason(
    what: &str,
    hint: &str,
    given: Option<&Text>,
) -> impl Fn(&Prompt, &RequestView) -> Result<Option<Option<Text>>, Failure> {
    move |prompt, view| {
        if !prompt.confirm(&format!("{what} request {}?", view.id))? {
            return Ok(None);
        }
        let reason = given.map_or_else(|| prompt.optional_text("Why?", hint, ""), |given| Ok(Some(given.clone())))?;
        Ok(Some(reason))
    }
}

/// The state that was shown, by default.
pub fn seen(_: &App, view: &mut RequestView) -> Result<Option<Seen>, Failure> {
    Ok(view.seen())
}

/// Whether the caller may decide on it now.
pub fn decidable(view: &RequestView) -> bool {
    view.may_decide == Some(true)
}
