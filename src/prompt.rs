//! Questions to a person, on a terminal only. What is asked here is never a check: the ledger decides all the same.

use std::io::{IsTerminal, stderr, stdin};

use dialoguer::theme::{ColorfulTheme, SimpleTheme, Theme};
use dialoguer::{Confirm, FuzzySelect, Input, Select};
use nix::sys::signal::{SigSet, Signal};

use crate::command::{RequestView, ResourceView};
use crate::domain::duration::{Duration, Length};
use crate::domain::request::Modification;
use crate::domain::resource::Resource;
use crate::domain::text::Text;
use crate::error::{Failure, Kind};

/// Somebody who can be asked.
pub struct Prompt {
    theme: Box<dyn Theme>,
}

impl Prompt {
    /// None: nobody can be asked, or nobody wants to be.
    pub fn on_terminal(yes: bool, color: bool) -> Option<Prompt> {
        let able = stdin().is_terminal() && stderr().is_terminal();
        let theme: Box<dyn Theme> = if color { Box::new(ColorfulTheme::default()) } else { Box::new(SimpleTheme) };
        (able && !yes).then_some(Prompt { theme })
    }

    pub fn confirm(&self, question: &str) -> Result<bool, Failure> {
        let confirm = Confirm::with_theme(&*self.theme).with_prompt(question).default(false);
        Ok(ask(|| confirm.interact_opt())?.unwrap_or(false))
    }

    pub fn resource(&self, resources: &[ResourceView]) -> Result<Resource, Failure> {
        // The names alone: the search goes by all that is shown.
        let items: Vec<String> = resources.iter().map(|view| view.resource.to_string()).collect();
        let select = FuzzySelect::with_theme(&*self.theme)
            .with_prompt("What do you need? (type to search)")
            .items(&items)
            .default(0)
            .max_length(10);
        let index = ask(|| select.interact_opt())?.ok_or_else(cancelled)?;
        Ok(resources[index].resource.clone())
    }

    pub fn reason(&self) -> Result<Text, Failure> {
        self.line("Why?")
    }

    pub fn note(&self) -> Result<Text, Failure> {
        self.line("What did you find?")
    }

    fn line(&self, question: &str) -> Result<Text, Failure> {
        let input = Input::with_theme(&*self.theme)
            .with_prompt(question)
            .validate_with(|text: &String| text.parse::<Text>().map(drop));
        let text: String = ask(|| input.interact_text())?;
        text.parse().map_err(|why| Failure::new(Kind::Usage, format!("that can't be taken: {why}")))
    }

    pub fn duration(&self) -> Result<Duration, Failure> {
        let hours = |hours: i64| Length::from_seconds(hours * 3600).map(Duration::For);
        let offered = [
            ("1 hour", hours(1)),
            ("4 hours", hours(4)),
            ("1 day", hours(24)),
            ("1 week", hours(7 * 24)),
            ("Permanent", Ok(Duration::Permanent)),
        ];
        let mut items: Vec<&str> = offered.iter().map(|(label, _)| *label).collect();
        items.push("Custom …");
        let select = Select::with_theme(&*self.theme).with_prompt("For how long?").items(&items).default(0);
        let index = ask(|| select.interact_opt())?.ok_or_else(cancelled)?;
        match offered.into_iter().nth(index) {
            Some((_, duration)) => duration.map_err(|why| Failure::new(Kind::Internal, why.to_string())),
            None => self.custom_duration(),
        }
    }

    fn custom_duration(&self) -> Result<Duration, Failure> {
        let input = Input::with_theme(&*self.theme)
            .with_prompt("How long? (such as 90m, 2d12h)")
            .validate_with(|text: &String| text.parse::<Duration>().map(drop));
        let text: String = ask(|| input.interact_text())?;
        text.parse().map_err(|why| Failure::new(Kind::Usage, format!("the duration can't be taken: {why}")))
    }

    /// What to grant: as asked, or the narrowest declared scope that covers it. None: nothing.
    pub fn approval(&self, view: &RequestView) -> Result<Option<Modification>, Failure> {
        let as_asked = Modification::default();
        let Some(scope) = &view.narrowest_scope else {
            let yes = self.confirm(&format!("Approve request {}?", view.id))?;
            return Ok(yes.then_some(as_asked));
        };
        let items = [
            format!("Approve as asked: {} alone", view.resource),
            format!("Approve with the scope that covers it: scope:{scope}"),
            "Do nothing".to_owned(),
        ];
        let select =
            Select::with_theme(&*self.theme).with_prompt(format!("Request {}", view.id)).items(&items).default(2);
        Ok(match ask(|| select.interact_opt())? {
            Some(0) => Some(as_asked),
            Some(1) => Some(Modification { resource: Some(Resource::Scope(scope.clone())), end: None }),
            Some(_) | None => None,
        })
    }
}

/// What to do with a request that waits.
pub enum Choice {
    Approve(Modification),
    Deny(Option<Text>),
    Skip,
    Stop,
}

impl Prompt {
    /// One of the requests that wait: the first of the two numbers of them.
    pub fn decision(&self, view: &RequestView, (place, of): (usize, usize)) -> Result<Choice, Failure> {
        let items = ["Approve", "Approve with changes …", "Deny …", "Skip", "Stop"];
        let select = Select::with_theme(&*self.theme)
            .with_prompt(format!("Request {} ({place} of {of})", view.id))
            .items(items)
            .default(3);
        match ask(|| select.interact_opt())? {
            Some(0) => Ok(Choice::Approve(Modification::default())),
            Some(1) => Ok(Choice::Approve(self.changes(view)?)),
            Some(2) => {
                let input = Input::<String>::with_theme(&*self.theme)
                    .with_prompt("Why? (the requester is told; may stay empty)")
                    .allow_empty(true)
                    .validate_with(
                        |text: &String| if text.is_empty() { Ok(()) } else { text.parse::<Text>().map(drop) },
                    );
                Ok(Choice::Deny(ask(|| input.interact_text())?.parse().ok()))
            }
            Some(3) => Ok(Choice::Skip),
            Some(_) | None => Ok(Choice::Stop),
        }
    }

    /// What to grant instead.
    fn changes(&self, view: &RequestView) -> Result<Modification, Failure> {
        let resource = match &view.narrowest_scope {
            Some(scope) => {
                let items = ["What is on the table".to_owned(), format!("The scope that covers it: scope:{scope}")];
                let select = Select::with_theme(&*self.theme).with_prompt("What?").items(&items).default(0);
                match ask(|| select.interact_opt())?.ok_or_else(cancelled)? {
                    0 => None,
                    _ => Some(Resource::Scope(scope.clone())),
                }
            }
            None => None,
        };
        let keep = self.confirm("For as long as it says?")?;
        let end = if keep { None } else { Some(self.duration()?.into()) };
        Ok(Modification { resource, end })
    }
}

/// The message that marks a Ctrl-C: what was still to be asked is not.
pub const INTERRUPTED: &str = "interrupted; nothing more was done";

/// The person thought better of it.
pub fn cancelled() -> Failure {
    Failure::new(Kind::Failure, "cancelled; nothing was done")
}

/// Asks. Ctrl-C is an answer: `console` raises the signal and then says that it was interrupted, so the signal is held
/// back meanwhile, or it would end the program with the cursor still hidden.
fn ask<T>(question: impl FnOnce() -> dialoguer::Result<T>) -> Result<T, Failure> {
    let interrupt = SigSet::from(Signal::SIGINT);
    let _ = interrupt.thread_block();
    let answer = question().map_err(failed)?;
    let _ = interrupt.thread_unblock();
    Ok(answer)
}

fn failed(error: dialoguer::Error) -> Failure {
    let dialoguer::Error::IO(error) = error;
    // The cursor is hidden while a list is shown, and Ctrl-C leaves it so.
    let _ = dialoguer::console::Term::stderr().show_cursor();
    match error.kind() {
        std::io::ErrorKind::Interrupted => Failure::new(Kind::Failure, INTERRUPTED),
        _ => Failure::new(Kind::Io, format!("the terminal can't be read: {error}")),
    }
}
