//! Questions on a terminal. They check nothing: the service decides, whatever was answered here.
//!
//! `dialoguer` asks for yes or no. Its text input miscounts wide and wrapped text, and letters typed at its lists move and
//! choose, so the text field (`text_input`) and the list (`menu`) are our own.

mod menu;
mod screen;
mod text_input;

use std::io::{IsTerminal, stderr, stdin};

use dialoguer::Confirm;
use dialoguer::console::Term;
use dialoguer::theme::{ColorfulTheme, SimpleTheme, Theme};
use menu::Menu;
use nix::sys::signal::{SigSet, Signal};
use screen::RawMode;
use text_input::TextInput;

use crate::domain::resource::Resource;
use crate::domain::terms::Modification;
use crate::domain::text::Text;
use crate::error::{Failure, Kind};
use crate::protocol::{RequestView, ResourceView};

pub use menu::{Item, Picked, Typing};

/// A terminal with a user who can be asked.
#[derive(Clone, Copy)]
pub struct Prompt {
    color: bool,
}

impl Prompt {
    /// None if there is no terminal that can move its cursor, or if `--yes` was given.
    pub fn on_terminal(yes: bool, color: bool) -> Option<Prompt> {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let able = stdin().is_terminal() && stderr().is_terminal() && !is_dumb;
        (able && !yes).then_some(Prompt { color })
    }

    pub fn confirm(&self, question: &str) -> Result<bool, Failure> {
        let theme: Box<dyn Theme> = if self.color { Box::new(ColorfulTheme::default()) } else { Box::new(SimpleTheme) };
        let confirm = Confirm::with_theme(&*theme).with_prompt(question).default(false);
        let _raw = RawMode::begin(true)?;
        Ok(uninterrupted(|| confirm.interact_opt())?.unwrap_or(false))
    }

    /// Asks for one of these. Letters do nothing. None if the user presses Esc.
    pub fn choose(&self, question: &str, items: &[Item], at: usize) -> Result<Option<usize>, Failure> {
        self.choose_from(&Menu { question, items, at, typing: Typing::Ignored, report: true })
    }

    /// The same, but the choice does not stay on the screen.
    pub fn choose_silently(&self, question: &str, items: &[Item], at: usize) -> Result<Option<usize>, Failure> {
        self.choose_from(&Menu { question, items, at, typing: Typing::Ignored, report: false })
    }

    fn choose_from(&self, menu: &Menu<'_>) -> Result<Option<usize>, Failure> {
        Ok(menu.ask(self.color)?.and_then(|picked| match picked {
            Picked::Item(index) => Some(index),
            Picked::Typed(_) => None,
        }))
    }

    /// Asks for one of these, or takes the beginning of another answer.
    pub fn choose_or_type(&self, question: &str, items: &[Item], at: usize) -> Result<Option<Picked>, Failure> {
        Menu { question, items, at, typing: Typing::Answers, report: true }.ask(self.color)
    }

    /// Asks for one of these, which typed letters search.
    pub fn resource(&self, question: &str, views: &[ResourceView]) -> Result<Option<Resource>, Failure> {
        let items: Vec<Item> = views.iter().map(|view| Item::with(view.resource.to_string(), about(view))).collect();
        let menu = Menu { question, items: &items, at: 0, typing: Typing::Searches, report: true };
        let index = self.choose_from(&menu)?;
        Ok(index.and_then(|index| views.get(index)).map(|view| view.resource.clone()))
    }

    /// Asks for a text. `check` says why an answer is not valid.
    pub fn input(
        &self,
        question: &str,
        hint: &str,
        initial: &str,
        check: &dyn Fn(&str) -> Result<(), String>,
    ) -> Result<Option<String>, Failure> {
        TextInput { question, hint, initial, check }.ask(self.color)
    }

    /// Asks for a reason or a note, which is required.
    pub fn text(&self, question: &str) -> Result<Text, Failure> {
        let check = |text: &str| text.parse::<Text>().map(drop).map_err(|why| why.to_string());
        let text = self.input(question, "", "", &check)?.ok_or_else(cancelled)?;
        text.parse().map_err(|why| Failure::new(Kind::Usage, format!("not valid: {why}")))
    }

    /// Asks for a note or a reason, which may stay empty.
    pub fn optional_text(&self, question: &str, hint: &str, initial: &str) -> Result<Option<Text>, Failure> {
        let check = |text: &str| match text.trim() {
            "" => Ok(()),
            text => text.parse::<Text>().map(drop).map_err(|why| why.to_string()),
        };
        let text = self.input(question, hint, initial, &check)?.ok_or_else(cancelled)?;
        Ok(text.parse().ok())
    }

    /// Asks what to grant: as asked, or the narrowest scope that covers it. None if nothing.
    pub fn approval(&self, view: &RequestView) -> Result<Option<Modification>, Failure> {
        let as_asked = Modification::default();
        let Some(scope) = &view.narrowest_scope else {
            let yes = self.confirm(&format!("Approve request {}?", view.id))?;
            return Ok(yes.then_some(as_asked));
        };
        let items = [
            Item::new(format!("Approve as asked: {} alone", view.resource)),
            Item::new(format!("Approve with the scope that covers it: scope:{scope}")),
            Item::new("Do nothing"),
        ];
        Ok(match self.choose(&format!("Request {}", view.id), &items, 2)? {
            Some(0) => Some(as_asked),
            Some(1) => Some(Modification { resource: Some(Resource::Scope(scope.clone())), end: None }),
            Some(_) | None => None,
        })
    }
}

/// What distinguishes a resource from the others.
fn about(view: &ResourceView) -> String {
    let mut about = vec![view.about.clone()];
    about.extend(view.pending.map(|id| format!("request {id} is pending")));
    about.extend(view.held.then(|| "you have it".to_owned()));
    about.retain(|word| !word.is_empty());
    about.join("; ")
}

/// Ctrl-C: no further question is asked.
fn interrupted() -> Failure {
    Failure::new(Kind::Interrupted, "interrupted; nothing more was done")
}

/// The user left a question.
pub fn cancelled() -> Failure {
    Failure::new(Kind::Failure, "cancelled; nothing was done")
}

/// Asks with `dialoguer`. On Ctrl-C `console` raises SIGINT and returns an error. The signal is blocked meanwhile, or it
/// would end the program before the terminal is restored.
fn uninterrupted<T>(question: impl FnOnce() -> dialoguer::Result<T>) -> Result<T, Failure> {
    let interrupt = SigSet::from(Signal::SIGINT);
    let _ = interrupt.thread_block();
    let answer = question();
    // After Ctrl-C the program ends by itself with its own exit code, so the signal stays blocked.
    let answer = answer.map_err(|dialoguer::Error::IO(error)| {
        // The error is not written on the line of the question.
        let _ = Term::stderr().write_line("");
        failed(&error)
    })?;
    let _ = interrupt.thread_unblock();
    Ok(answer)
}

fn failed(error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::Interrupted => interrupted(),
        _ => Failure::new(Kind::Io, format!("the terminal can't be read: {error}")),
    }
}
