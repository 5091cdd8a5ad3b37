//! One run of the program: what all commands share.

use std::cell::OnceCell;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Global;
use crate::backend::Backend;
use crate::domain::duration::brief;
use crate::domain::name::Name;
use crate::domain::resource::{Resource, ResourceOrName};
use crate::domain::terms::RequestId;
use crate::domain::text::Text;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::prompt::Prompt;
use crate::protocol::{AsOf, AsOfLast, RequestView};
use crate::server::OverSsh;
use crate::service::{Call, Candidate, Complete, Find, Show, Unread, Words};
use crate::time_format::date_and_time;
use crate::time_input::{Pick, TypedTime};
use crate::ui::{Listing, Printer, counted, request};

/// A table shows this many rows by default.
const ROWS: u64 = 50;

pub struct App {
    pub backend: LazyBackend,
    pub printer: Printer,
    pub prompt: Option<Prompt>,
    pub clock: Timestamp,
    pub yes: bool,
    /// Whether a person sits at the terminal and wants to be notified of things.
    attended: bool,
    /// Whether a list ended early because nobody reads the output any more.
    pub stopped: bool,
    /// Whether somebody was given access, or lost it, so that systems have to follow.
    pub access_changed: bool,
}

/// The backend, chosen when the first call needs it: some commands need none.
pub struct LazyBackend {
    db: Option<PathBuf>,
    acting_as: Option<Name>,
    as_of: AsOfLast,
    chosen: OnceCell<Backend>,
}

impl LazyBackend {
    /// The database that the line names.
    pub fn db(&self) -> Option<&Path> {
        self.db.as_deref()
    }

    pub fn get(&self) -> Result<&Backend, Failure> {
        if let Some(chosen) = self.chosen.get() {
            return Ok(chosen);
        }
        let chosen = Backend::choose(self.db.clone(), self.acting_as.clone(), self.as_of.clone())?;
        Ok(self.chosen.get_or_init(|| chosen))
    }
}

impl App {
    /// `over_ssh`: the member who gives the command, if it came over SSH.
    pub fn new(global: &Global, over_ssh: Option<OverSsh>, clock: Timestamp) -> App {
        let as_of = AsOfLast::default();
        let printer = Printer::new(global.json, global.quiet, global.color, clock).noting(as_of.clone());
        let prompt = Prompt::on_terminal(global.yes, printer.in_color());
        let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let attended = terminal && !global.quiet && !global.json;
        let (db, acting_as) = (global.db.clone(), global.acting_as.clone());
        let chosen = OnceCell::new();
        if let Some(over_ssh) = over_ssh {
            let _ = chosen.set(Backend::over_ssh(over_ssh.noting(as_of.clone())));
        }
        let backend = LazyBackend { db, acting_as, as_of, chosen };
        App { backend, printer, prompt, clock, yes: global.yes, attended, stopped: false, access_changed: false }
    }

    pub fn backend(&self) -> Result<&Backend, Failure> {
        self.backend.get()
    }

    /// Makes a call and prints its rows as a list as they arrive. Returns the reply and the number of rows. Stops when the
    /// output is closed (`| head`).
    pub fn rows<C: Call>(
        &mut self,
        call: C,
        mut print: impl FnMut(&mut Listing<'_>, C::Row) -> Result<(), Failure> + Send,
    ) -> Result<(C::Reply, usize), Failure> {
        let mut stopped = false;
        let answer = self.rows_to_the_end(call, |list, row| {
            print(list, row)?;
            stopped = list.is_closed();
            if stopped { Err(Failure::new(Kind::Io, "nobody reads the output")) } else { Ok(()) }
        });
        self.stopped = stopped;
        answer
    }

    /// The same for a call that changes something: it runs to its end even if nobody reads the output.
    pub fn rows_to_the_end<C: Call>(
        &mut self,
        call: C,
        mut print: impl FnMut(&mut Listing<'_>, C::Row) -> Result<(), Failure> + Send,
    ) -> Result<(C::Reply, usize), Failure> {
        let mut list = self.printer.list();
        match self.backend.get()?.call(call, &mut |row| print(&mut list, row)) {
            Ok(reply) => Ok((reply, list.end()?)),
            Err(failure) => {
                list.cut_short();
                Err(failure)
            }
        }
    }

    /// Whether a list has any rows, for a message to people. JSON has no such message, so then it does not look.
    pub fn finds<C: Call>(&mut self, call: C) -> Result<bool, Failure> {
        let mut found = false;
        if !self.printer.is_json() {
            self.backend.get()?.call(call, &mut |_| {
                found = true;
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Makes a call and prints each row by itself.
    pub fn lines<C: Call>(
        &mut self,
        call: C,
        mut print: impl FnMut(&mut Printer, C::Row) -> Result<(), Failure> + Send,
    ) -> Result<(), Failure> {
        let printer = &mut self.printer;
        self.backend.get()?.call(call, &mut |row| print(printer, row)).map(drop)
    }

    /// The same as CSV, under this header.
    pub fn csv<C: Call>(
        &mut self,
        call: C,
        header: &'static str,
        mut print: impl FnMut(&mut Printer, C::Row) -> Result<(), Failure> + Send,
    ) -> Result<(), Failure> {
        // A failure prints no header.
        let mut first = true;
        self.lines(call, |printer, row| {
            if std::mem::take(&mut first) {
                printer.csv_header(header)?;
            }
            print(printer, row)
        })?;
        if first { self.printer.csv_header(header) } else { Ok(()) }
    }

    pub fn warn_all(&mut self, warnings: &[String]) {
        for warning in warnings {
            self.printer.warn(warning);
        }
    }

    /// One request, to be looked at before it is decided on.
    pub fn look_at(&self, id: RequestId) -> Result<RequestView, Failure> {
        self.backend()?.answer(Show { id })
    }

    /// A request, for the person who is about to be asked about it.
    pub fn preview_request(&mut self, view: &RequestView) {
        let now = self.printer.now();
        self.printer.preview(|sheet| request::whole(sheet, view, now));
    }

    /// For an option that has no meaning with --json. `conflicts_with` misses a --json before the command.
    pub fn refuse_json(&self, option: &str) -> Result<(), Failure> {
        if self.printer.is_json() {
            let message = format!("the argument '{option}' cannot be used with '--json'");
            return Err(Failure::new(Kind::Usage, message));
        }
        Ok(())
    }

    /// A resource that is named in full or by its name alone.
    pub fn resource(&self, named: ResourceOrName) -> Result<Resource, Failure> {
        match named {
            ResourceOrName::Resource(resource) => Ok(resource),
            ResourceOrName::Name(name) => self.backend()?.answer(Find { name }),
        }
    }

    /// A resource that has to be named in full: a name alone could come to mean another one.
    pub fn resource_in_full(&self, named: ResourceOrName) -> Result<Resource, Failure> {
        let name = match named {
            ResourceOrName::Resource(resource) => return Ok(resource),
            ResourceOrName::Name(name) => name,
        };
        let incomplete = format!("{name} is only a name; here a resource is written kind:name");
        let incomplete = Failure::new(Kind::Usage, incomplete);
        // A check records nothing, so this is the question that records no refusal.
        let mut meant = Vec::new();
        let _ = self.backend()?.call(Complete { words: Words::Resources }, &mut |Candidate { word, .. }| {
            meant.extend(word.split_once(':').is_some_and(|(_, it)| it == name.as_str()).then_some(word));
            Ok(())
        });
        Err(match meant.as_slice() {
            [] => incomplete.hint("`access resources` lists what there is"),
            meant => incomplete.hint(format!("did you mean {}?", meant.join(" or "))),
        })
    }

    /// Returns the given text, or asks for it.
    pub fn text(&self, given: Option<Text>, flag: &str, question: &str) -> Result<Text, Failure> {
        match (given, &self.prompt) {
            (Some(text), _) => Ok(text),
            (None, Some(prompt)) => prompt.text(question),
            (None, None) => {
                Err(Failure::new(Kind::Usage, format!("{flag} is missing, and nobody can be asked for it")))
            }
        }
    }

    pub fn resolve(&mut self, when: TypedTime, pick: Pick) -> Result<Timestamp, Failure> {
        let meant = when.resolve(self.clock, pick).map_err(|why| {
            Failure::new(Kind::Usage, why.to_string()).hint("add the offset, as in 2026-12-01T17:00+01:00")
        })?;
        if let Some(note) = &meant.note {
            self.printer.hint(note);
        }
        Ok(meant.at)
    }

    /// A time since which something is listed.
    pub fn resolve_since(&mut self, when: TypedTime) -> Result<Timestamp, Failure> {
        // The clock of the person who wrote the time may be a little ahead of this one.
        const AHEAD: i64 = 60;
        let since = self.resolve(when, Pick::Last)?;
        if since.since(self.clock) > AHEAD {
            let message = format!("--since {when} is in the future ({since}), so nothing can match");
            return Err(
                Failure::new(Kind::Usage, message).hint("add the day, as in \"2026-12-01 17:00\", or \"3h ago\"")
            );
        }
        Ok(since)
    }

    /// The moment of the past that `--at` names. From here on, times are shown relative to it.
    pub fn look_back(&mut self, at: Option<TypedTime>) -> Result<Option<Timestamp>, Failure> {
        let at = at.map(|at| self.resolve(at, Pick::Last)).transpose()?;
        if let Some(at) = at {
            self.printer.set_now(at);
        }
        Ok(at)
    }

    /// Says that an answer is about the past.
    pub fn mention_past(&mut self, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.printer.status(&format!("as of {}, by the log", date_and_time(at)));
        }
    }

    pub fn limit(&self, given: Option<u64>) -> Option<u64> {
        match given {
            Some(0) => None,
            Some(limit) => Some(limit),
            None if self.printer.is_json() => None,
            None => Some(ROWS),
        }
    }

    pub fn mention_more(&mut self, more: u64) -> Result<(), Failure> {
        if more > 0 {
            self.printer.print(&format!("… and {} more (--limit 0 shows all)", counted(more)))?;
        }
        Ok(())
    }

    /// What the copy of a shared log knew that gave the last answer. None: the log is not shared.
    pub fn as_of(&self) -> Option<AsOf> {
        self.backend.as_of.get()
    }

    /// Says how old the copy is that gave the answer, if it is not fresh, and what it lacks.
    pub fn mention_age(&mut self) {
        let Some(as_of) = self.as_of() else { return };
        if let Some(why) = &as_of.unwritten {
            self.printer.warn(&format!("it is recorded in the shared log, but not in this host's copy yet: {why}"));
            self.printer.hint("do not repeat it: `access follow` brings it here once the copy can be written");
        }
        if as_of.is_fresh() {
            return;
        }
        self.printer.status(&match as_of.age_seconds {
            Some(age) => format!("as of {} ago: this host has not heard from the shared log since", brief(age)),
            None => "this host has not heard from the shared log since it started".to_owned(),
        });
    }

    /// Prints the number of unread notifications, on a terminal.
    pub fn mention_unread(&mut self) {
        let Some(backend) = self.backend.chosen.get().filter(|backend| self.attended && backend.has_member()) else {
            return;
        };
        match backend.answer(Unread {}).unwrap_or(0) {
            0 => {}
            1 => self.printer.status("1 unread notification: access inbox"),
            count => self.printer.status(&format!("{} unread notifications: access inbox", counted(count))),
        }
    }
}
