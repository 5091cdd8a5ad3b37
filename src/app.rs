//! From what was typed to commands: completes them (by asking, where there is somebody to ask), has them carried out
//! through the door, and hands the answers to `output`.

mod form;
mod queue;

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration as Wait, Instant};

use anyhow::{Context as _, Result};
use nix::fcntl::OFlag;

use crate::backend::Backend;
use crate::cli::{self, Cli, ExportFormat, Global, Verb};
use crate::command::{
    AskFor, AuditFilter, Checkpoint, Command, DeliverView, End as Ended, ExpireView, FindingView, Health, ListFilter,
    Reply, RequestView, Seen,
};
use crate::domain::channel::Channel;
use crate::domain::duration::{Duration, Length};
use crate::domain::name::Name;
use crate::domain::preference::{self, Digest, PreferenceChange, TimeOfDay};
use crate::domain::request::{Edit, Edited, End, Modification, RequestId, State, Terms};
use crate::domain::resource::{Resource, ResourceOrName};
use crate::domain::text::Text;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::pages;
use crate::prompt::{Prompt, cancelled};
use crate::server::{self, Layout};
use crate::service::{self, Init};
use crate::time_input::{self, Sense, When};
use crate::ui::{Printer, Shape, broken, counted, shape};

/// A table shows so many rows unless told otherwise.
const ROWS: u64 = 50;
/// Between two looks at a request that is waited for.
const POLL: Wait = Wait::from_millis(500);
/// How long something that looks again and again bears that nobody answers.
const OUTAGE: Wait = Wait::from_secs(30);
/// No file that is read is larger than this: 16 MiB.
const LARGEST: u64 = 16 << 20;

/// One run of the program.
struct App {
    door: Backend,
    printer: Printer,
    prompt: Option<Prompt>,
    clock: Timestamp,
    yes: bool,
    /// Whether a person sits at the terminal and wants to be told things.
    attended: bool,
}

/// Does what was typed. Gives the exit code.
pub fn run(cli: Cli) -> Result<u8> {
    let Cli { global, verb } = cli;
    let changes = changes(&verb);
    let clock = identity::clock()?;
    let mut printer = Printer::new(&global, clock);
    if let Some(done) = without_database(&verb, clock, &mut printer) {
        return finish(&mut printer, done.map(|()| 0), changes);
    }
    let mut app = App::new(&global, printer, clock)?;
    let ended = app.verb(verb);
    let code = finish(&mut app.printer, ended, changes)?;
    if let Some(why) = time_input::trouble() {
        app.printer.warn(&format!("{why}; times are shown in UTC"));
    }
    app.mention_unread();
    Ok(code)
}

/// Does what needs no database. None: it does.
fn without_database(verb: &Verb, clock: Timestamp, printer: &mut Printer) -> Option<Result<()>> {
    match verb {
        Verb::Completions(args) => Some(completions(args, printer)),
        Verb::Man(args) => Some(man(args, printer)),
        Verb::Version(_) => Some(version(printer).map_err(|error| broken(error).into())),
        Verb::Serve(args) => Some(serve(args).map_err(Into::into)),
        Verb::Init(args) if args.shared => Some(init_shared(args, clock, printer)),
        Verb::Init(_)
        | Verb::Team(_)
        | Verb::Resources(_)
        | Verb::Request(_)
        | Verb::Extend(_)
        | Verb::Edit(_)
        | Verb::List(_)
        | Verb::Show(_)
        | Verb::Approve(_)
        | Verb::Deny(_)
        | Verb::Review(_)
        | Verb::Withdraw(_)
        | Verb::Revoke(_)
        | Verb::Whoami(_)
        | Verb::Check(_)
        | Verb::Who(_)
        | Verb::Inbox(_)
        | Verb::Notify(_)
        | Verb::Expire(_)
        | Verb::Deliver(_)
        | Verb::Outbox(_)
        | Verb::Audit(_)
        | Verb::Backup(_)
        | Verb::Doctor(_)
        | Verb::Help(_) => None,
    }
}

/// Writes out what is still held back. A command that changes something prints only once that is done: where the output
/// fails, the person has to be told.
fn finish(printer: &mut Printer, ended: Result<u8>, changes: bool) -> Result<u8> {
    let written = printer.flush().map_err(broken);
    match (ended, written) {
        (_, Err(failure)) if changes => {
            Err(failure.hint("the command was carried out all the same; only its output is lost").into())
        }
        (Err(error), _) => Err(error),
        (Ok(_), Err(failure)) => Err(failure.into()),
        (Ok(code), Ok(())) => Ok(code),
    }
}

/// Whether the command changes something when it succeeds.
fn changes(verb: &Verb) -> bool {
    match verb {
        Verb::Team(cli::Team::Apply(args)) => !args.dry_run,
        Verb::Team(cli::Team::ReplaceOwner(args)) => !args.dry_run,
        Verb::Request(args) => !args.dry_run,
        Verb::Edit(args) => !args.dry_run,
        Verb::Expire(args) => !args.dry_run,
        Verb::Inbox(args) => args.mark_read.is_some(),
        Verb::Doctor(args) => args.accept_clock,
        Verb::Outbox(args) => args.verb.is_some(),
        Verb::Notify(args) => !matches!(args.verb, None | Some(cli::NotifyVerb::Show(_))),
        Verb::Init(_)
        | Verb::Extend(_)
        | Verb::Approve(_)
        | Verb::Deny(_)
        | Verb::Review(_)
        | Verb::Withdraw(_)
        | Verb::Revoke(_)
        | Verb::Deliver(_)
        | Verb::Backup(_)
        | Verb::Man(_) => true,
        Verb::Team(cli::Team::Show(_))
        | Verb::Resources(_)
        | Verb::List(_)
        | Verb::Show(_)
        | Verb::Whoami(_)
        | Verb::Check(_)
        | Verb::Who(_)
        | Verb::Audit(_)
        | Verb::Serve(_)
        | Verb::Completions(_)
        | Verb::Version(_)
        | Verb::Help(_) => false,
    }
}

impl App {
    fn new(global: &Global, printer: Printer, clock: Timestamp) -> Result<App> {
        use std::io::IsTerminal;
        let door = Backend::choose(global.db.clone(), global.acting_as.clone())?;
        let prompt = Prompt::on_terminal(global.yes, printer.in_color());
        let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let attended = terminal && !global.quiet && !global.json;
        Ok(App { door, printer, prompt, clock, yes: global.yes, attended })
    }

    fn verb(&mut self, verb: Verb) -> Result<u8> {
        match verb {
            Verb::Init(args) => self.init(args),
            Verb::Team(cli::Team::Show(_)) => self.plain(Command::TeamShow),
            Verb::Team(cli::Team::Apply(args)) => self.team_apply(&args),
            Verb::Team(cli::Team::ReplaceOwner(args)) => self.replace_owner(&args),
            Verb::Resources(args) => {
                let nothing = if args.mine { "You have nothing of that" } else { "There is nothing of that" };
                self.listed(Command::Resources { kind: args.kind, mine: args.mine }, nothing)
            }
            Verb::Request(args) => self.request(&args),
            Verb::Extend(args) => self.extend(args),
            Verb::Edit(args) => self.edit(args),
            Verb::List(args) => self.list(args),
            Verb::Show(args) => self.plain(Command::Show { id: args.id }),
            Verb::Approve(args) if args.ids.is_empty() => self.walk(&args),
            Verb::Approve(args) => self.approve(args),
            Verb::Deny(args) => {
                let ask = with_reason("Deny", "the requester is told; may stay empty", args.reason.as_ref());
                self.each(&args.ids, seen, decidable, ask, |id, reason, seen| Command::Deny {
                    id,
                    reason: reason.unwrap_or_else(|| args.reason.clone()),
                    seen,
                })
            }
            Verb::Review(args) => self.review(args),
            Verb::Withdraw(args) => {
                let pending = |view: &RequestView| view.state == State::Pending;
                self.each(&args.ids, seen, pending, plainly("Withdraw"), |id, _, seen| Command::Withdraw { id, seen })
            }
            Verb::Revoke(args) => match args.member {
                Some(member) => self.revoke_all(&member, args.reason.as_ref()),
                None => self.revoke(&args.ids, args.reason.as_ref()),
            },
            Verb::Whoami(args) if args.watch => self.watch(),
            Verb::Whoami(_) => self.plain(Command::Whoami),
            Verb::Check(args) => self.check(args),
            Verb::Who(args) => {
                let resource = self.resource(args.resource)?;
                self.listed(Command::Who { resource }, "Nobody can use it now")
            }
            Verb::Inbox(args) => self.inbox(args),
            Verb::Notify(args) => self.notify(args),
            Verb::Expire(args) => self.expire(&args),
            Verb::Deliver(args) if args.watch => self.keep_delivering(),
            Verb::Deliver(_) => self.plain(Command::Deliver),
            Verb::Outbox(args) => self.outbox(args),
            Verb::Audit(args) => self.audit(args),
            Verb::Backup(args) => self.plain(Command::Backup { to: args.to }),
            Verb::Doctor(args) => self.doctor(args),
            Verb::Serve(_) | Verb::Completions(_) | Verb::Man(_) | Verb::Version(_) | Verb::Help(_) => Ok(0),
        }
    }

    /// Carries out a command and prints its answer as it comes.
    fn plain(&mut self, command: Command) -> Result<u8> {
        let shape = shape(&command);
        let (ended, _) = self.send(command, shape)?;
        Ok(u8::from(ended.no))
    }

    /// The same of a list; says so when it is empty.
    fn listed(&mut self, command: Command, nothing: &str) -> Result<u8> {
        let (_, count) = self.send(command, Shape::Many)?;
        if count == 0 {
            self.printer.status(nothing);
        }
        Ok(0)
    }

    fn send(&mut self, command: Command, shape: Shape) -> Result<(Ended, usize), Failure> {
        let endless = rows_only(&command);
        let mut stopped = false;
        let mut answer = self.printer.answer(shape);
        let carried_out = self.door.carry_out(command, &mut |reply| {
            answer.put(reply)?;
            stopped = endless && answer.is_closed();
            if stopped { Err(Failure::new(Kind::Io, "nobody reads the output")) } else { Ok(()) }
        });
        let ended = match carried_out {
            Ok(ended) => ended,
            // `| head` has what it wanted.
            Err(_) if stopped => Ended::default(),
            Err(failure) => {
                answer.cut_short();
                return Err(failure);
            }
        };
        let count = answer.end()?;
        self.warn_all(&ended);
        Ok((ended, count))
    }

    fn warn_all(&mut self, ended: &Ended) {
        for warning in &ended.warnings {
            self.printer.warn(warning);
        }
    }

    /// One request, to be looked at before it is decided on.
    fn look_at(&self, id: RequestId) -> Result<RequestView, Failure> {
        let mut found = None;
        self.door.carry_out(Command::Show { id }, &mut |reply| {
            if let Reply::Request(view) = reply {
                found = Some(*view);
            }
            Ok(())
        })?;
        found.ok_or_else(|| Failure::new(Kind::Internal, format!("request {id} was not shown")))
    }

    fn init(&mut self, args: cli::Init) -> Result<u8> {
        let own = self.door.own()?;
        let login = own.login();
        let owner = match args.owner {
            Some(owner) => owner,
            None => login.as_str().parse().map_err(|why| {
                Failure::new(Kind::Usage, format!("your Unix user name, {login}, can't be a member's name: {why}"))
                    .hint("say another with --owner NAME")
            })?,
        };
        let init = Init { login, by: login, owner: owner.clone(), team: args.team, sample: args.sample };
        let team = service::init(own.path(), self.clock, init)?;
        let path = own.path().display().to_string();
        let words = format!("Created {path}\nThe team {} is yours: you are its owner, {owner}", team.team.name);
        let json = serde_json::json!({ "database": path, "team": team.team.name, "owner": owner });
        self.printer.print_or(&words, &json).map_err(broken)?;
        if args.sample {
            self.printer.hint("act as others of the team to try things out: access --as bob request target:orders-db");
        } else {
            self.printer.hint("bring in your team: access team show > team.toml, edit it, access team apply team.toml");
        }
        Ok(0)
    }

    fn team_apply(&mut self, args: &cli::TeamApply) -> Result<u8> {
        let &cli::TeamApply { dry_run, against, revoke_unmatched, .. } = args;
        let text = read_text(&args.file)?;
        let command =
            |dry_run, seen| Command::TeamApply { text: text.clone(), dry_run, seen, against, revoke_unmatched };
        self.change_team(dry_run, command, "Apply this?")
    }

    fn replace_owner(&mut self, args: &cli::ReplaceOwner) -> Result<u8> {
        let to = &args.to;
        let command = |dry_run, seen| Command::ReplaceOwner { to: to.clone(), dry_run, seen };
        self.change_team(args.dry_run, command, &format!("Make {to} the owner, who decides who is who?"))
    }

    /// Shows what a change of the team does and asks, unless `--yes` says so. `command`: given whether it is a dry run, and
    /// the plan that was shown.
    fn change_team(
        &mut self,
        dry_run: bool,
        command: impl Fn(bool, Option<Seen>) -> Command,
        question: &str,
    ) -> Result<u8> {
        if dry_run || self.yes {
            return self.plain(command(dry_run, None));
        }
        let mut plan = None;
        let looked = self.door.carry_out(command(true, None), &mut |reply| {
            if let Reply::Plan(view) = reply {
                plan = Some(view);
            }
            Ok(())
        })?;
        let plan = plan.ok_or_else(|| Failure::new(Kind::Internal, "no plan was shown"))?;
        if !plan.does_anything() {
            return self.plain(command(true, None));
        }
        let Some(prompt) = &self.prompt else {
            let why = "a change of the team has to be confirmed, and nobody can be asked here";
            return Err(Failure::new(Kind::Usage, why).hint("look with --dry-run, then apply with --yes").into());
        };
        self.printer.present_plan(&plan);
        for warning in &looked.warnings {
            self.printer.warn(warning);
        }
        if !prompt.confirm(question)? {
            return Err(cancelled().into());
        }
        let apply = command(false, plan.seen.clone());
        if self.printer.is_json() {
            return self.plain(apply);
        }
        // What it does was shown already.
        self.door.carry_out(apply, &mut |_| Ok(()))?;
        self.printer.print("Applied.").map_err(broken)?;
        Ok(0)
    }

    fn request(&mut self, args: &cli::Request) -> Result<u8> {
        match (&args.resource, &args.reason, self.prompt) {
            (Some(_), Some(_), _) | (_, _, None) => {
                let ask = self.asked_for(args)?;
                self.file(ask, args)
            }
            (_, _, Some(prompt)) => self.request_by_form(prompt, args),
        }
    }

    /// Has a request carried out, and waits for its decision where that was wanted.
    fn file(&mut self, ask: AskFor, args: &cli::Request) -> Result<u8> {
        let command = Command::Request(ask);
        let shape = shape(&command);
        if !args.wait {
            let (ended, _) = self.send(command, shape)?;
            return Ok(u8::from(ended.no));
        }
        let mut filed = None;
        let ended = self.door.carry_out(command, &mut |reply| {
            if let Reply::Request(view) = reply {
                filed = Some(*view);
            }
            Ok(())
        })?;
        self.warn_all(&ended);
        let filed = filed.ok_or_else(|| Failure::new(Kind::Internal, "the request was not shown"))?;
        self.wait(filed, args.timeout)
    }

    /// What the line says, where nobody can be asked for the rest.
    fn asked_for(&mut self, args: &cli::Request) -> Result<AskFor> {
        let missing = |flag: &str| {
            let both = args.resource.is_none() && args.reason.is_none();
            let (flags, it) = if both { ("RESOURCE and --reason are", "them") } else { (flag, "it") };
            Failure::new(Kind::Usage, format!("{flags} missing, and nobody can be asked for {it} here"))
                .hint("access request RESOURCE --reason TEXT")
                .hint("`access resources` lists what can be asked for")
        };
        let resource = args.resource.clone().ok_or_else(|| missing("RESOURCE is"))?;
        let reason = args.reason.clone().ok_or_else(|| missing("--reason is"))?;
        let end = match (args.duration, args.until) {
            (Some(duration), _) => duration.into(),
            (None, Some(until)) => End::At(self.resolve(until, Sense::Next)?),
            (None, None) => Duration::For(Length::HOUR).into(),
        };
        let start = args.start.map(|start| self.resolve(start, Sense::Next)).transpose()?;
        Ok(AskFor {
            terms: Terms { resource: self.resource(resource)?, end, start },
            default_length: args.duration.is_none() && args.until.is_none(),
            reason,
            ticket: args.ticket.clone(),
            requester: args.requester.clone(),
            emergency: args.emergency,
            dry_run: args.dry_run,
        })
    }

    /// A resource that is named in full or by its name alone.
    fn resource(&self, named: ResourceOrName) -> Result<Resource, Failure> {
        let name = match named {
            ResourceOrName::Resource(resource) => return Ok(resource),
            ResourceOrName::Name(name) => name,
        };
        let mut found = None;
        self.door.carry_out(Command::Find { name }, &mut |reply| {
            if let Reply::Found(resource) = reply {
                found = Some(resource);
            }
            Ok(())
        })?;
        found.ok_or_else(|| Failure::new(Kind::Internal, "the resource was not named"))
    }

    fn extend(&mut self, args: cli::Extend) -> Result<u8> {
        let (reason, ticket) = match (args.reason, self.prompt) {
            (None, Some(prompt)) => self.ask_to_extend(prompt, args.id, args.duration, args.ticket)?,
            (reason, _) => (self.text(reason, "--reason", "Why?")?, args.ticket),
        };
        self.plain(Command::Extend { id: args.id, length: args.duration, reason, ticket })
    }

    fn edit(&mut self, args: cli::Edit) -> Result<u8> {
        let end = match (args.duration, args.until) {
            (Some(duration), _) => Some(duration.into()),
            (None, Some(until)) => Some(End::At(self.resolve(until, Sense::Next)?)),
            (None, None) => None,
        };
        let start = match args.start {
            Some(start) => Some(Edited::To(self.resolve(start, Sense::Next)?)),
            None => args.no_start.then_some(Edited::Removed),
        };
        let ticket = args.ticket.map(Edited::To).or(args.no_ticket.then_some(Edited::Removed));
        let edit = Edit { reason: args.reason, ticket, end, start };
        self.plain(Command::Edit { id: args.id, edit, dry_run: args.dry_run })
    }

    fn review(&mut self, args: cli::Review) -> Result<u8> {
        let mut seen = None;
        if args.note.is_none() && self.prompt.is_some() {
            let view = self.look_at(args.id)?;
            seen = view.seen();
            self.printer.present(&view);
        }
        let note = self.text(args.note, "--note", "What did you find?")?;
        self.plain(Command::Review { id: args.id, note, seen })
    }

    /// A text that was given, or is asked for.
    fn text(&self, given: Option<Text>, flag: &str, question: &str) -> Result<Text, Failure> {
        match (given, &self.prompt) {
            (Some(text), _) => Ok(text),
            (None, Some(prompt)) => prompt.text(question),
            (None, None) => {
                Err(Failure::new(Kind::Usage, format!("{flag} is missing, and nobody can be asked for it here")))
            }
        }
    }

    fn resolve(&mut self, when: When, sense: Sense) -> Result<Timestamp, Failure> {
        let meant = when.resolve(self.clock, sense).map_err(|why| {
            Failure::new(Kind::Usage, why.to_string()).hint("say the offset too, as in 2026-12-01T17:00+01:00")
        })?;
        if let Some(note) = &meant.note {
            self.printer.hint(note);
        }
        Ok(meant.at)
    }

    /// A time since which something is listed.
    fn resolve_since(&mut self, when: When) -> Result<Timestamp, Failure> {
        // The clock of the person who wrote the time may be a little ahead of this one.
        const AHEAD: i64 = 60;
        let since = self.resolve(when, Sense::Last)?;
        if since.since(self.clock) > AHEAD {
            let message = format!("--since {when} is in the future ({since}), so nothing can match");
            return Err(
                Failure::new(Kind::Usage, message).hint("name a day too, like \"2026-12-01 17:00\", or \"3h ago\"")
            );
        }
        Ok(since)
    }

    /// Waits for a decision. Exit 0: granted; 1: not.
    fn wait(&mut self, filed: RequestView, timeout: Option<Length>) -> Result<u8> {
        let id = filed.id;
        let deadline = timeout.map(|length| Instant::now() + Wait::from_secs(length.seconds().unsigned_abs()));
        let who: Vec<&str> = filed.approvals.waiting_on.iter().map(Name::as_str).collect();
        self.printer.status(&format!(
            "Request {id} waits on {}; Ctrl-C stops the waiting, not the request",
            if who.is_empty() { "nobody".to_owned() } else { who.join(", ") }
        ));
        let mut outage = Outage::default();
        loop {
            self.printer.set_now(identity::clock()?);
            let looked = self.look_at(id);
            let out_of_time = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let mut view = match looked {
                Ok(view) => view,
                Err(failure) => {
                    let first = outage.begin();
                    if out_of_time || !outage.is_bearable(&failure) {
                        let lost = Failure { message: still_filed(id, &failure), ..failure };
                        return Err(lost.hint(format!("look again with `access show {id}`")).into());
                    }
                    if first {
                        self.printer.warn(&format!("{}; trying again", still_filed(id, &failure)));
                    }
                    sleep(POLL);
                    continue;
                }
            };
            outage = Outage::default();
            if view.state != State::Pending || out_of_time {
                let granted = match view.state {
                    State::Active | State::Scheduled => true,
                    State::Pending
                    | State::Denied
                    | State::Withdrawn
                    | State::Lapsed
                    | State::Expired
                    | State::Revoked => false,
                };
                view.timeline = Vec::new();
                let mut answer = self.printer.answer(Shape::One);
                answer.put(Reply::Request(Box::new(view)))?;
                answer.end()?;
                return Ok(u8::from(!granted));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            sleep(left.unwrap_or(Wait::MAX).min(POLL));
        }
    }

    fn list(&mut self, args: cli::List) -> Result<u8> {
        let mut states = args.states;
        if args.pending {
            states.push(State::Pending);
        }
        let since = args.since.map(|since| self.resolve_since(since)).transpose()?;
        let open_only = !args.all && states.is_empty();
        let filter = ListFilter {
            mine: args.mine,
            all: args.all,
            states,
            requester: args.requester,
            resource: args.resource.map(|resource| self.resource(resource)).transpose()?,
            since,
            limit: self.limit(args.limit),
        };
        let (ended, count) = self.send(Command::List(filter), Shape::Many)?;
        if count == 0 {
            self.printer.status(if open_only {
                "No requests; `access list --all` shows the closed ones too"
            } else {
                "No requests"
            });
        }
        self.mention_more(&ended)?;
        Ok(0)
    }

    fn limit(&self, given: Option<u64>) -> Option<u64> {
        match given {
            Some(0) => None,
            Some(limit) => Some(limit),
            None if self.printer.is_json() => None,
            None => Some(ROWS),
        }
    }

    fn mention_more(&mut self, ended: &Ended) -> Result<(), Failure> {
        if ended.more > 0 {
            let more = counted(ended.more);
            self.printer.print(&format!("… and {more} more (--limit 0 shows all)")).map_err(broken)?;
        }
        Ok(())
    }

    fn approve(&mut self, args: cli::Approve) -> Result<u8> {
        let end = match (args.duration, args.until) {
            (Some(duration), _) => Some(duration.into()),
            (None, Some(until)) => Some(End::At(self.resolve(until, Sense::Next)?)),
            (None, None) => None,
        };
        if args.seen.is_some() && args.ids.len() > 1 {
            return Err(Failure::new(Kind::Usage, "--seen is for one request").hint("approve them one by one").into());
        }
        let given = Modification { resource: args.resource.or(args.scope.map(Resource::Scope)), end };
        let ask = |prompt: &Prompt, view: &RequestView| {
            if given == Modification::default() {
                return prompt.approval(view);
            }
            let yes = prompt.confirm(&format!("Approve request {} with these changes?", view.id))?;
            Ok(yes.then(|| given.clone()))
        };
        self.each(&args.ids, seen, decidable, ask, |id, chosen, seen| Command::Approve {
            id,
            modification: chosen.unwrap_or_else(|| given.clone()),
            note: args.note.clone(),
            // You looked at that version before you typed this, so it is stricter than what was shown now.
            seen: args.seen.map(|seq| Seen(seq.to_string())).or(seen),
        })
    }

    /// The same command for each request, each in its own transaction.
    ///
    /// On a terminal each is shown and asked about first: `ask` gives what the person chose, None for no. What will be
    /// refused anyhow (not `worth_asking`) is refused without that. `look` may add to what is shown, and says what was seen.
    fn each<T>(
        &mut self,
        ids: &[RequestId],
        look: impl Fn(&App, &mut RequestView) -> Result<Option<Seen>, Failure>,
        worth_asking: impl Fn(&RequestView) -> bool,
        ask: impl Fn(&Prompt, &RequestView) -> Result<Option<T>, Failure>,
        command: impl Fn(RequestId, Option<T>, Option<Seen>) -> Command,
    ) -> Result<u8> {
        let many = ids.len() > 1;
        let prompt = self.prompt;
        if many && self.printer.is_json() {
            if prompt.is_some() {
                let why = "several requests with --json can't be asked about one by one";
                return Err(Failure::new(Kind::Usage, why).hint("add --yes to ask nothing").into());
            }
            return self.each_in_json(ids, |id| command(id, None, None));
        }
        let mut code = 0;
        for &id in ids {
            let done = (|| -> Result<(), Failure> {
                let (mut chosen, mut seen) = (None, None);
                if let Some(prompt) = &prompt {
                    let mut view = self.look_at(id)?;
                    seen = look(self, &mut view)?;
                    if worth_asking(&view) {
                        self.printer.present(&view);
                        chosen = Some(ask(prompt, &view)?.ok_or_else(cancelled)?);
                    }
                }
                self.send(command(id, chosen, seen), Shape::One)?;
                Ok(())
            })();
            self.note_failure(done, many, &mut code)?;
        }
        Ok(code)
    }

    fn revoke(&mut self, ids: &[RequestId], reason: Option<&Text>) -> Result<u8> {
        let live = |view: &RequestView| matches!(view.state, State::Active | State::Scheduled);
        // What ends with it is shown too.
        let look = |app: &App, view: &mut RequestView| {
            view.also_ended = app.following(view)?;
            let mut all: Vec<&RequestView> = std::iter::once(&*view).chain(&view.also_ended).collect();
            all.sort_by_key(|view| view.id);
            Ok(Some(Seen::of(all.into_iter().filter_map(|view| view.last_seq))))
        };
        let ask = |prompt: &Prompt, view: &RequestView| {
            let also: Vec<String> = view.also_ended.iter().map(|next| next.id.to_string()).collect();
            let with = if also.is_empty() { String::new() } else { format!(", and with it {}", also.join(", ")) };
            if !prompt.confirm(&format!("Revoke request {}{with}?", view.id))? {
                return Ok(None);
            }
            let told = "the member is told; may stay empty";
            let why = reason.map_or_else(|| prompt.word("Why?", told, ""), |given| Ok(Some(given.clone())))?;
            Ok(Some(why))
        };
        self.each(ids, look, live, ask, |id, why, seen| Command::Revoke {
            id,
            reason: why.unwrap_or_else(|| reason.cloned()),
            seen,
        })
    }

    /// The open requests that go on from this one's grant, and those that go on from theirs.
    fn following(&self, view: &RequestView) -> Result<Vec<RequestView>, Failure> {
        let mut ids = view.extended_by.clone();
        let mut found = Vec::new();
        let mut next = 0;
        while let Some(&id) = ids.get(next) {
            let view = self.look_at(id)?;
            ids.extend(&view.extended_by);
            found.extend(view.state.is_open().then_some(view));
            next += 1;
        }
        Ok(found)
    }

    /// Ends everything that was granted to a member. On a terminal it is listed and asked about first.
    fn revoke_all(&mut self, member: &Name, reason: Option<&Text>) -> Result<u8> {
        let command =
            |seen, dry_run| Command::RevokeMember { member: member.clone(), reason: reason.cloned(), seen, dry_run };
        let mut seen = None;
        if let Some(prompt) = &self.prompt {
            let mut views: Vec<RequestView> = Vec::new();
            self.door.carry_out(command(None, true), &mut |reply| {
                if let Reply::Request(view) = reply {
                    views.push(*view);
                }
                Ok(())
            })?;
            if !views.is_empty() {
                self.printer.present_ending(&views);
                let what = if views.len() == 1 { "this".to_owned() } else { format!("all {}", views.len()) };
                if !prompt.confirm(&format!("Revoke {what} of {member}'s?"))? {
                    return Err(cancelled().into());
                }
            }
            seen = Some(Seen::of(views.iter().filter_map(|view| view.last_seq)));
        }
        let shape = if self.printer.is_json() { Shape::Many } else { Shape::One };
        let (_, count) = self.send(command(seen, false), shape)?;
        if count == 0 {
            self.printer.status(&format!("{member} has no granted access; nothing was revoked"));
        }
        self.printer.hint("access that the team file gives stays: to end that too, set `disabled = true` there");
        Ok(0)
    }

    /// The successes as one array on stdout, the failures as objects on stderr.
    fn each_in_json(&mut self, ids: &[RequestId], command: impl Fn(RequestId) -> Command) -> Result<u8> {
        let mut code = 0;
        let mut answer = self.printer.answer(Shape::Many);
        for &id in ids {
            let done = self.door.carry_out(command(id), &mut |reply| answer.put(reply));
            if let Err(failure) = done {
                answer.fail(&failure);
                code = if code == 0 { failure.kind.exit_code() } else { code };
            }
        }
        answer.end()?;
        Ok(code)
    }

    /// With several ids one failure doesn't stop the rest; the first one's exit code is kept.
    fn note_failure(&mut self, done: Result<(), Failure>, many: bool, code: &mut u8) -> Result<(), Failure> {
        match done {
            Ok(()) => Ok(()),
            Err(failure) if many && failure.kind != Kind::Interrupted => {
                // That the output can't be written is said once, at the end.
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

    /// Exit 0 stands for yes and for nothing else: both the view and how the answer ended have to say so.
    fn check(&mut self, args: cli::Check) -> Result<u8> {
        let command = Command::Check { resource: args.resource, user: args.user, login: args.login };
        let mut allowed = None;
        let mut answer = self.printer.answer(shape(&command));
        let carried_out = self.door.carry_out(command, &mut |reply| {
            if let Reply::Check(view) = &reply {
                allowed = Some(view.allowed);
            }
            answer.put(reply)
        });
        let ended = carried_out?;
        answer.end()?;
        match (allowed, ended.no) {
            (Some(true), false) => Ok(0),
            (Some(false), true) => Ok(1),
            (Some(_) | None, _) => Err(Failure::new(Kind::Internal, "the answer contradicts itself").into()),
        }
    }

    fn watch(&mut self) -> Result<u8> {
        use std::io::IsTerminal;
        if !std::io::stdout().is_terminal() {
            return Err(Failure::new(Kind::Usage, "--watch redraws a terminal, and stdout is none").into());
        }
        self.printer.raw(b"\x1b[2J").map_err(broken)?;
        let mut outage = Outage::default();
        loop {
            let mut profile = None;
            let looked = self.door.carry_out(Command::Whoami, &mut |reply| {
                if let Reply::Profile(view) = reply {
                    profile = Some(view);
                }
                Ok(())
            });
            match looked {
                Ok(_) => outage = Outage::default(),
                Err(failure) => {
                    outage.begin();
                    if !outage.is_bearable(&failure) {
                        return Err(failure.into());
                    }
                }
            }
            if let Some(view) = profile {
                self.printer.redraw(&view).map_err(broken)?;
            }
            if self.printer.is_closed() {
                return Ok(0);
            }
            sleep(Wait::from_secs(1));
        }
    }

    fn expire(&mut self, args: &cli::Expire) -> Result<u8> {
        let mut nothing = false;
        let mut answer = self.printer.answer(Shape::One);
        let command = Command::Expire { dry_run: args.dry_run, deliver: !args.no_deliver };
        let ended = self.door.carry_out(command, &mut |reply| {
            nothing |= matches!(&reply, Reply::Expired(view) if *view == ExpireView::default());
            answer.put(reply)
        })?;
        answer.end()?;
        self.warn_all(&ended);
        // Cron gets no output; a person who asks what is due does.
        if nothing && args.dry_run {
            self.printer.status("Nothing is due");
        }
        Ok(0)
    }

    fn inbox(&mut self, args: cli::Inbox) -> Result<u8> {
        let Some(ids) = args.mark_read else {
            let command = Command::Inbox { all: args.all, limit: self.limit(args.limit) };
            let (ended, count) = self.send(command, Shape::Many)?;
            if count == 0 {
                self.printer.status(if args.all {
                    "No notifications"
                } else {
                    "Nothing unread; `access inbox --all` shows the read ones too"
                });
            }
            self.mention_more(&ended)?;
            return Ok(0);
        };
        let ended = self.door.carry_out(Command::MarkRead { ids }, &mut |_| Ok(()))?;
        let words = match ended.count {
            1 => "1 marked as read".to_owned(),
            count => format!("{count} marked as read"),
        };
        self.printer.print_or(&words, &serde_json::json!({ "marked": ended.count })).map_err(broken)?;
        Ok(0)
    }

    fn notify(&mut self, args: cli::Notify) -> Result<u8> {
        let change = match args.verb {
            None | Some(cli::NotifyVerb::Show(_)) => return self.plain(Command::Preferences),
            Some(cli::NotifyVerb::Test(_)) => return self.plain(Command::NotifyTest),
            Some(cli::NotifyVerb::Set(set)) => PreferenceChange::Set { event: set.event.0, choice: choice(&set)? },
            Some(cli::NotifyVerb::Mute(mute)) => PreferenceChange::Mute(mute.events),
            Some(cli::NotifyVerb::Unmute(unmute)) => PreferenceChange::Unmute(unmute.events),
            Some(cli::NotifyVerb::Reset(_)) => PreferenceChange::Reset,
        };
        self.plain(Command::Prefer(change))
    }

    /// One run after another, each a process of its own: what hangs in one ends with it, and each reads the
    /// configuration anew.
    fn keep_delivering(&mut self) -> Result<u8> {
        const PAUSE: Wait = Wait::from_secs(5);
        let program = std::env::current_exe().context("this program can't find itself")?;
        // As we were called, but for --watch.
        let arguments: Vec<_> = std::env::args_os().skip(1).filter(|word| word != "--watch").collect();
        self.printer.status("Sending what comes; Ctrl-C ends");
        let mut said = Vec::new();
        loop {
            let ran = std::process::Command::new(&program)
                .args(&arguments)
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .and_then(std::process::Child::wait_with_output)
                .with_context(|| format!("{} can't be run", program.display()))?;
            let nothing = serde_json::from_slice(&ran.stdout)
                .is_ok_and(|view: DeliverView| DeliverView { busy: false, ..view } == DeliverView::default());
            if !nothing {
                self.printer.raw(&ran.stdout).map_err(broken)?;
                self.printer.flush().map_err(broken)?;
            }
            // What goes on is said once.
            if ran.stderr != said {
                self.printer.relay(&ran.stderr);
                said = ran.stderr;
            }
            // A failure (of a mail server, say), a full disk and a busy database may be over in a moment, and a run that was
            // killed is none of ours. Anything else will not be right by itself: who is refused stays refused.
            const PASSING: [u8; 3] = [Kind::Failure.exit_code(), Kind::Io.exit_code(), Kind::Busy.exit_code()];
            match ran.status.code().map(|code| u8::try_from(code).unwrap_or(1)) {
                Some(code) if code > 0 && !PASSING.contains(&code) => return Ok(code),
                Some(_) | None => sleep(PAUSE),
            }
        }
    }

    fn outbox(&mut self, args: cli::Outbox) -> Result<u8> {
        match args.verb {
            Some(cli::OutboxVerb::Retry(retry)) => {
                let ended = self.door.carry_out(Command::OutboxRetry { ids: retry.ids }, &mut |_| Ok(()))?;
                let words = match ended.count {
                    1 => "1 is due again".to_owned(),
                    count => format!("{count} are due again"),
                };
                self.printer.print_or(&words, &serde_json::json!({ "retried": ended.count })).map_err(broken)?;
                return Ok(0);
            }
            Some(cli::OutboxVerb::Discard(discard)) => {
                let ended = self.door.carry_out(Command::OutboxDiscard { ids: discard.ids }, &mut |_| Ok(()))?;
                let words = match ended.count {
                    1 => "Discarded 1 message".to_owned(),
                    count => format!("Discarded {count} messages"),
                };
                self.printer.print_or(&words, &serde_json::json!({ "discarded": ended.count })).map_err(broken)?;
                return Ok(0);
            }
            None => {}
        }
        let (_, count) = self.send(Command::Outbox { dead: args.dead }, Shape::Many)?;
        if count == 0 {
            self.printer.status(if args.dead { "Nothing was given up" } else { "Nothing waits to be sent" });
        }
        Ok(0)
    }

    fn audit(&mut self, args: cli::Audit) -> Result<u8> {
        match args.verb {
            Some(cli::AuditVerb::Export(export)) => {
                let (command, shape) = match export.format {
                    ExportFormat::Jsonl => (Command::AuditExport, Shape::JsonLines),
                    ExportFormat::Csv => (Command::AuditExport, Shape::Csv),
                    ExportFormat::Raw => (Command::AuditExportRaw, Shape::JsonLines),
                };
                self.send(command, shape)?;
                return Ok(0);
            }
            Some(cli::AuditVerb::Verify(verify)) => {
                return self.plain(Command::AuditVerify { against: read_checkpoints(verify.against.as_deref())? });
            }
            Some(cli::AuditVerb::Checkpoint(_)) => return self.plain(Command::AuditCheckpoint),
            None => {}
        }
        let since = args.since.map(|since| self.resolve_since(since)).transpose()?;
        let until = args.until.map(|until| self.resolve(until, Sense::UpTo)).transpose()?;
        if let (Some(since), Some(until)) = (since, until)
            && until < since
        {
            return Err(Failure::new(Kind::Usage, "--until is before --since, so nothing can match").into());
        }
        let limit = self.limit(args.limit);
        let filter = AuditFilter { request: args.request, actor: args.actor, action: args.action, since, until, limit };
        let (ended, count) = self.send(Command::Audit(filter), Shape::Many)?;
        if count == 0 {
            self.printer.status("No entries");
        }
        self.mention_more(&ended)?;
        Ok(0)
    }

    fn doctor(&mut self, args: cli::Doctor) -> Result<u8> {
        if args.accept_clock {
            let ended = self.door.carry_out(Command::AcceptClock, &mut |_| Ok(()))?;
            self.warn_all(&ended);
            self.printer
                .print_or("The clock is accepted.", &serde_json::json!({ "accepted": true }))
                .map_err(broken)?;
            return Ok(0);
        }
        let command = Command::Doctor { against: read_checkpoints(args.against.as_deref())? };
        let mut answer = self.printer.answer(shape(&command));
        let ended = self.door.carry_out(command, &mut |reply| answer.put(reply));
        // A file that can't be opened is a finding too.
        let no = match ended {
            Ok(ended) => ended.no,
            Err(failure) if failure.kind == Kind::Refused => return Err(failure.into()),
            Err(failure) => {
                let found = failure.message.clone();
                let finding =
                    FindingView { what: "file".to_owned(), health: Health::Wrong, found, mend: failure.hints };
                answer.put(Reply::Finding(finding))?;
                true
            }
        };
        answer.end()?;
        Ok(u8::from(no))
    }

    /// A quiet last line, when somebody is there to read it.
    fn mention_unread(&mut self) {
        if !self.attended {
            return;
        }
        let unread = self.door.carry_out(Command::Unread, &mut |_| Ok(()));
        match unread.map_or(0, |ended| ended.count) {
            0 => {}
            1 => self.printer.status("1 unread notification: access inbox"),
            count => self.printer.status(&format!("{} unread notifications: access inbox", counted(count))),
        }
    }
}

/// Failures in a row of something that looks again and again, since the first of them.
#[derive(Default)]
struct Outage(Option<Instant>);

impl Outage {
    /// Whether this is the first failure.
    fn begin(&mut self) -> bool {
        let first = self.0.is_none();
        self.0.get_or_insert_with(Instant::now);
        first
    }

    /// Whether to look again: what is busy will have time, and what is not there may be in the middle of a restart.
    fn is_bearable(&self, failure: &Failure) -> bool {
        match failure.kind {
            Kind::Busy => true,
            Kind::Unavailable | Kind::Io => self.0.is_some_and(|since| since.elapsed() < OUTAGE),
            Kind::Failure
            | Kind::Usage
            | Kind::Refused
            | Kind::NotFound
            | Kind::Conflict
            | Kind::Invalid
            | Kind::Interrupted
            | Kind::Internal => false,
        }
    }
}

/// The request was filed, and only looking at it failed: the failure's own words may be that nothing was done.
fn still_filed(id: RequestId, failure: &Failure) -> String {
    let why = match failure.kind {
        Kind::Busy => "the server or its database is busy",
        _ => &failure.message,
    };
    format!("request {id} was filed, and was waiting when last seen: {why}")
}

/// Whether the answer is a list of any length, and its exit code says nothing: reading on for nobody is of no use.
fn rows_only(command: &Command) -> bool {
    matches!(
        command,
        Command::List(_)
            | Command::Audit(_)
            | Command::AuditExport
            | Command::Outbox { .. }
            | Command::Inbox { .. }
            | Command::Resources { .. }
            | Command::Who { .. }
    )
}

fn choice(set: &cli::NotifySet) -> Result<preference::Choice, Failure> {
    let on = |given: Option<cli::OnOff>| given.map(|given| given == cli::OnOff::On);
    let digest = match (set.digest, set.at) {
        (Some(cli::DigestWhen::Daily), at) => Some(Digest::Daily(at.unwrap_or(TimeOfDay::NINE))),
        (Some(_), Some(_)) => return Err(Failure::new(Kind::Usage, "--at is for --digest daily")),
        (Some(cli::DigestWhen::Hourly), None) => Some(Digest::Hourly),
        (Some(cli::DigestWhen::Realtime), None) => Some(Digest::RealTime),
        (None, _) => None,
    };
    let channels = [(Channel::Email, on(set.email)), (Channel::Slack, on(set.slack))];
    let channels = channels.into_iter().filter_map(|(channel, on)| Some((channel, on?))).collect();
    Ok(preference::Choice { channels, digest })
}

fn completions(args: &cli::Completions, printer: &mut Printer) -> Result<()> {
    let script = pages::completion_script(args.shell)?;
    Ok(printer.raw(&script).map_err(broken)?)
}

fn man(args: &cli::Man, printer: &mut Printer) -> Result<()> {
    let count = pages::write_man_pages(&args.folder)?;
    Ok(printer.print(&format!("Wrote {count} pages to {}", args.folder.display())).map_err(broken)?)
}

fn version(printer: &mut Printer) -> std::io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    if printer.is_json() {
        return printer.print_or("", &serde_json::json!({ "version": version }));
    }
    printer.raw(format!("access {version}\n").as_bytes())
}

fn serve(args: &cli::Serve) -> Result<(), Failure> {
    if args.connection {
        return server::serve_connection();
    }
    server::listen(args.group.as_deref())
}

/// A shared host, laid out by root for an owner who is somebody else.
fn init_shared(args: &cli::Init, clock: Timestamp, printer: &mut Printer) -> Result<()> {
    let missing = || Failure::new(Kind::Usage, "--owner is missing: who owns the team");
    let owner = args.owner.clone().ok_or_else(missing)?;
    let layout = Layout { owner, login: args.login.clone(), team: args.team.clone(), sample: args.sample };
    let laid = server::lay_out(layout, clock)?;
    let words = format!("Laid out a shared host, with {}", laid.database.display());
    printer
        .print_or(&words, &serde_json::json!({ "database": laid.database, "socket": laid.socket }))
        .map_err(broken)?;
    printer.hint("serve it: systemctl enable --now access.socket access-expire.timer");
    printer.hint("or, without systemd: `access serve` at boot, and packaging/cron.d/access");
    printer.hint("then look whether all is as it should be: access doctor");
    Ok(())
}

/// Asks a plain yes or no.
fn plainly(what: &str) -> impl Fn(&Prompt, &RequestView) -> Result<Option<()>, Failure> {
    move |prompt, view| Ok(prompt.confirm(&format!("{what} request {}?", view.id))?.then_some(()))
}

/// Asks yes or no, and then why, unless the reason is given.
fn with_reason(
    what: &str,
    told: &str,
    given: Option<&Text>,
) -> impl Fn(&Prompt, &RequestView) -> Result<Option<Option<Text>>, Failure> {
    move |prompt, view| {
        if !prompt.confirm(&format!("{what} request {}?", view.id))? {
            return Ok(None);
        }
        let reason = given.map_or_else(|| prompt.word("Why?", told, ""), |given| Ok(Some(given.clone())))?;
        Ok(Some(reason))
    }
}

/// What of a request was seen, by default.
fn seen(_: &App, view: &mut RequestView) -> Result<Option<Seen>, Failure> {
    Ok(view.seen())
}

/// Whether the caller may decide on it now.
fn decidable(view: &RequestView) -> bool {
    view.may_decide == Some(true)
}

/// Checkpoints, one a line, as `audit checkpoint` prints them.
fn read_checkpoints(path: Option<&Path>) -> Result<Vec<Checkpoint>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let text = read_text(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(index, line)| {
        serde_json::from_str(line).map_err(|_| {
            Failure::new(Kind::Invalid, format!("{}, line {}: that is no checkpoint", path.display(), index + 1))
                .hint("each line is one that `access audit checkpoint` printed")
        })
    });
    let checkpoints = parsed.collect::<Result<Vec<Checkpoint>, Failure>>()?;
    if checkpoints.is_empty() {
        return Err(Failure::new(Kind::Invalid, format!("{} holds no checkpoint", path.display())).into());
    }
    Ok(checkpoints)
}

/// A text file that a person names, `-` for standard input, of at most 16 MiB.
fn read_text(path: &Path) -> Result<String> {
    let stdin = path == Path::new("-");
    let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = if stdin {
        std::io::stdin().take(LARGEST + 1).read_to_end(&mut bytes)
    } else {
        let file = open_named(path).with_context(|| format!("{name} can't be read"))?;
        let Some(file) = file else {
            return Err(Failure::new(Kind::Invalid, format!("{name} is not a regular file"))
                .hint("to read what a command prints: pipe it into this one, and name -")
                .into());
        };
        file.take(LARGEST + 1).read_to_end(&mut bytes)
    };
    read.with_context(|| format!("{name} can't be read"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::new(Kind::Invalid, format!("{name} is larger than 16 MiB")).into());
    }
    let invalid = |_| Failure::new(Kind::Invalid, format!("{name} is not a text (UTF-8)"));
    Ok(String::from_utf8(bytes).map_err(invalid)?)
}

/// Opens a regular file without waiting, as opening a named pipe would. None: it is something else. What the caller's
/// shell has opened, for `<(command)`, may be a pipe: the person who wrote the command waits for what it prints.
fn open_named(path: &Path) -> std::io::Result<Option<File>> {
    if ["/dev/fd", "/proc/self/fd"].iter().any(|folder| path.parent() == Some(Path::new(folder)))
        || path == Path::new("/dev/stdin")
    {
        return File::open(path).map(Some);
    }
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // Reading a folder fails by itself, and says why.
    let found = file.metadata()?;
    Ok((found.is_file() || found.is_dir()).then_some(file))
}
