//! `access run`: asks for access if needed, and runs a command for as long as you have it.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration as Wait, Instant};

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::iterator::Signals;

use super::Run;
use super::app::App;
use super::outage::Outage;
use super::request::{RequestArgs, deadline};
use crate::completion;
use crate::domain::duration::{Duration, Length, brief};
use crate::domain::entitlement::{Entitlement, longest};
use crate::domain::grant::State;
use crate::domain::resource::{Resource, ResourceOrName};
use crate::domain::terms::RequestId;
use crate::domain::text::{Text, Ticket};
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::protocol::CheckView;
use crate::service::{Check, Revoke, Warned};
use crate::time_format::date_and_time;

/// Run a command while you have access, and ask for the access first if needed
#[derive(Debug, Args)]
#[command(
    after_help = "If you have no access, a request is filed, and the command starts once it is approved and connectors have given the access; \
for them it waits 30 seconds at most. You are warned five minutes before your access ends; `access extend` prolongs it meanwhile. When it ends, the command gets SIGTERM, and ten seconds later SIGKILL. What the command \
started in the background is not ended.

The exit code is that of the command: 128 plus the signal if a signal ended it, 127 if it was not found. If you get no access it is 1.

Examples:
  access run target:orders-db -r 'OPS-12: stuck orders' -- psql orders
  access run orders-db -r 'OPS-12' -d 30m --give-back -- ./repair.sh --all"
)]
pub struct RunArgs {
    /// Resource: kind:name, or only the name if it is unambiguous
    #[arg(add = ArgValueCandidates::new(completion::resources_or_names))]
    pub resource: ResourceOrName,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// Why you need it, if you have to ask
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<Text>,
    /// How long you ask for (default: 1h, or less if a rule says so)
    #[arg(short, long, value_name = "LENGTH", add = ArgValueCandidates::new(completion::durations))]
    pub duration: Option<Duration>,
    /// Ticket reference
    #[arg(short, long, value_name = "REF")]
    pub ticket: Option<Ticket>,
    /// Wait no longer than this for the decision
    #[arg(long, value_name = "LENGTH")]
    pub timeout: Option<Length>,
    /// When the command ends, give back the access that was asked for
    #[arg(long)]
    pub give_back: bool,
}

/// The pause between two looks at the command.
const POLL: Wait = Wait::from_millis(100);
/// How often access is checked: a revoke takes effect after this.
const CHECK: Wait = Wait::from_secs(2);
/// You are warned when this many seconds are left.
const WARNING: i64 = 300;
/// How long the command has to end by itself.
const GRACE: Wait = Wait::from_secs(10);

impl Run for RunArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let resource = app.resource(self.resource.clone())?;
        let mut access = app.access_to(&resource)?;
        let mut asked = None;
        if access.is_none() {
            asked = Some(app.ask_and_wait(&resource, &self)?);
            access = app.access_to(&resource)?;
        }
        if let Some(id) = access.as_ref().and_then(|access| access.request) {
            let view = app.look_at(id)?;
            // Access may have ended meanwhile.
            if app.given(view, None).state != State::Active {
                access = app.access_to(&resource)?;
            }
        }
        let Some(access) = access else {
            return Err(Failure::new(
                Kind::Failure,
                format!("you have no access to {resource}; the command was not run"),
            )
            .into());
        };
        let ended = app.run_while(&self.command, &resource, access);
        if let (Some(id), true) = (asked, self.give_back) {
            app.give_back(id);
        }
        ended
    }
}

impl RunArgs {
    /// The request for the access that is missing.
    fn request(&self, resource: &Resource) -> RequestArgs {
        RequestArgs {
            resource: Some(ResourceOrName::Resource(resource.clone())),
            reason: self.reason.clone(),
            duration: self.duration,
            until: None,
            start: None,
            ticket: self.ticket.clone(),
            emergency: false,
            requester: None,
            wait: true,
            timeout: self.timeout,
            dry_run: false,
        }
    }
}

impl App {
    /// Your access that lasts longest. None: you have none now.
    fn access_to(&mut self, resource: &Resource) -> Result<Option<Entitlement>, Failure> {
        self.printer.set_now(identity::clock()?);
        let check = Check { resource: resource.clone(), user: None, login: None, freshness: None, at: None };
        let CheckView { allowed, because, .. } = self.backend()?.answer(check)?;
        Ok(longest(&because).filter(|_| allowed).cloned())
    }

    /// Files a request, or takes the one that is pending. Returns once access begins.
    fn ask_and_wait(&mut self, resource: &Resource, args: &RunArgs) -> Result<RequestId> {
        let check = Check { resource: resource.clone(), user: None, login: None, freshness: None, at: None };
        let view = match self.backend()?.answer(check)?.pending {
            Some(pending) => self.look_at(pending)?,
            None => {
                let request = args.request(resource);
                let Warned { answer, warnings } = match (&args.reason, self.prompt) {
                    (Some(_), _) => {
                        let submit = self.asked_for(&request)?;
                        self.submit(submit)?
                    }
                    (None, Some(prompt)) => self.submit_by_form(prompt, &request)?,
                    (None, None) => {
                        let why = "--reason is missing, and nobody can be asked for it; the command was not run";
                        return Err(Failure::new(Kind::Usage, why).into());
                    }
                };
                self.warn_all(&warnings);
                answer
            }
        };
        let id = view.id;
        let view = if view.state == State::Pending { self.decided(view, deadline(args.timeout))? } else { view };
        match (view.state, view.grant) {
            (State::Active, _) => Ok(id),
            (State::Scheduled, Some(grant)) => {
                self.printer
                    .status(&format!("Request {id} was approved; access begins at {}", date_and_time(grant.starts_at)));
                self.wait_until(grant.starts_at)?;
                Ok(id)
            }
            (state, _) => {
                let message = format!("request {id} is {state}; the command was not run");
                Err(Failure::new(Kind::Failure, message).hint(format!("`access show {id}` says why")).into())
            }
        }
    }

    fn wait_until(&self, at: Timestamp) -> Result<(), Failure> {
        while identity::clock()? < at {
            sleep(Wait::from_secs(1));
        }
        Ok(())
    }

    /// Runs the command until it ends or access does. Returns the exit code.
    fn run_while(&mut self, words: &[OsString], resource: &Resource, access: Entitlement) -> Result<u8> {
        let Some((program, arguments)) = words.split_first() else { return Ok(0) };
        self.printer.flush()?;
        let mut signals = catch_signals()?;
        let mut child = match Command::new(program).args(arguments).spawn() {
            Ok(child) => child,
            Err(error) => {
                let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
                self.printer.fail(&Failure::new(Kind::Failure, format!("{}: {error}", program.display())));
                return Ok(code);
            }
        };
        let watched = self.watch_command(&mut child, &mut signals, resource, access);
        if watched.is_err() {
            // Nobody would notice the end of access.
            end(&mut child)?;
        }
        watched
    }

    /// Watches the command until it ends or access does. Returns the exit code.
    fn watch_command(
        &mut self,
        child: &mut Child,
        signals: &mut Signals,
        resource: &Resource,
        access: Entitlement,
    ) -> Result<u8> {
        let mut watch = Watch {
            until: access.until,
            request: access.request,
            warned: None,
            checked: Instant::now(),
            outage: Outage::default(),
        };
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(code(status));
            }
            for signal in signals.pending().filter_map(|signal| Signal::try_from(signal).ok()) {
                // Ctrl-C goes to the command too, which decides what it means.
                if !FROM_TERMINAL.contains(&signal) {
                    send(child, signal);
                }
            }
            if !self.still_allowed(&mut watch, resource)? {
                self.printer.warn(&format!("your access to {resource} has ended, so the command is ended"));
                return Ok(end(child)?);
            }
            sleep(POLL);
        }
    }

    /// Whether access continues. Checks from time to time, and when it should end: it may have been extended or revoked.
    fn still_allowed(&mut self, watch: &mut Watch, resource: &Resource) -> Result<bool, Failure> {
        let now = identity::clock()?;
        let is_over = watch.until.is_some_and(|until| until <= now);
        if is_over || watch.checked.elapsed() >= CHECK {
            match self.access_to(resource) {
                Ok(Some(access)) => {
                    (watch.until, watch.request) = (access.until, access.request);
                    (watch.checked, watch.outage) = (Instant::now(), Outage::default());
                }
                Ok(None) => return Ok(false),
                // While nobody answers, the end that is known holds.
                Err(failure) => {
                    watch.outage.begin();
                    watch.checked = Instant::now();
                    if is_over || !watch.outage.is_bearable(&failure) {
                        self.printer.fail(&failure);
                        return Ok(false);
                    }
                }
            }
        }
        if let Some(until) = watch.until.filter(|&until| until.since(now) <= WARNING && watch.warned != Some(until)) {
            watch.warned = Some(until);
            let hint = watch.request.map(|id| format!("; to keep it: access extend {id}")).unwrap_or_default();
            self.printer.warn(&format!("your access to {resource} ends in {}{hint}", brief(until.since(now))));
        }
        Ok(true)
    }

    /// Ends the grant of a request of yours. If that fails, the grant ends by itself.
    fn give_back(&mut self, id: RequestId) {
        let revoke = Revoke { id, reason: None, seen: None };
        match self.backend().and_then(|backend| backend.answer(revoke)) {
            Ok(_) => {
                self.access_changed = true;
                self.printer.status(&format!("Request {id} was given back"));
            }
            Err(failure) if failure.kind == Kind::Conflict => {}
            Err(failure) => self.printer.warn(&format!("request {id} was not given back: {}", failure.message)),
        }
    }
}

/// What is known of the access under which the command runs.
struct Watch {
    /// None: permanent.
    until: Option<Timestamp>,
    request: Option<RequestId>,
    /// The end of which you were warned.
    warned: Option<Timestamp>,
    checked: Instant,
    outage: Outage,
}

/// Signals that the command gets from the terminal itself.
const FROM_TERMINAL: [Signal; 2] = [Signal::SIGINT, Signal::SIGQUIT];

/// Catches what would end this process, before the command starts: else a signal that comes meanwhile ends this process alone, and nobody
/// sees to the end of access. What is ignored, as under nohup, stays so, for the command too.
fn catch_signals() -> std::io::Result<Signals> {
    // `SigIgn:`, with a bit for each signal: proc_pid_status(5).
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let caught = FROM_TERMINAL.into_iter().chain([Signal::SIGTERM, Signal::SIGHUP]);
    Signals::new(caught.map(|signal| signal as i32).filter(|signal| ignored & (1 << (signal - 1)) == 0))
}

fn send(child: &Child, signal: Signal) {
    // The process was not waited for, so its ID is still its own.
    if let Ok(id) = i32::try_from(child.id()) {
        let _ = kill(Pid::from_raw(id), signal);
    }
}

/// Ends the command. Exit 1: access ended before it did.
fn end(child: &mut Child) -> std::io::Result<u8> {
    send(child, Signal::SIGTERM);
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        if child.try_wait()?.is_some() {
            return Ok(1);
        }
        sleep(POLL);
    }
    child.kill()?;
    child.wait()?;
    Ok(1)
}

/// As a shell has it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}
