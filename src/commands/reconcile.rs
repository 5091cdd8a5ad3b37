//! `access reconcile`: compares the log with the systems that enforce access, and closes the difference.

use anyhow::{Context as _, Result};
use clap::Args;

use super::Run;
use super::app::App;
use crate::domain::binding::written;
use crate::domain::name::Name;
use crate::domain::terms::requests;
use crate::provisioning;
use crate::provisioning::{ReconcileState, ReconcileView, Reconciliation, Watched};
use crate::ui::{Color, Column, Fit, Shown, line};

/// Compare access with the systems that enforce it. Exit 1: it differs
#[derive(Debug, Args)]
#[command(
    after_help = "For each connector of this machine: what the log says that members hold now, against what the \
connector lists. With --fix, access that is due is given, and access that was given by access and is no longer due is \
taken back. What was there before, or is explained by nothing, is reported and never touched.

On a shared host root runs this; elsewhere the owner of the database does.

Examples:
  access reconcile                  compare only
  access reconcile --fix
  access reconcile --fix orders-pg
  access reconcile --fix --watch    as a service"
)]
pub struct ReconcileArgs {
    /// Only these connectors
    #[arg(value_name = "NAME")]
    pub names: Vec<Name>,
    /// Give what is missing, and take back what is no longer due
    #[arg(long)]
    pub fix: bool,
    /// Keep running: follow the log
    #[arg(long, requires = "fix", conflicts_with = "accept_restore")]
    pub watch: bool,
    /// Go on from a database that was restored from a backup, or replaced
    #[arg(long)]
    pub accept_restore: bool,
    /// Leave a system to another run that waits for it already
    #[arg(long, hide = true, requires = "fix")]
    pub background: bool,
}

impl Run for ReconcileArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        if self.watch {
            return app.watch_systems(&self.names);
        }
        let wanted = Reconciliation {
            fix: self.fix,
            accept_restore: self.accept_restore,
            background: self.background,
            names: self.names,
        };
        let mut code = 0;
        let backend = app.backend.get()?;
        let mut list = app.printer.list();
        let done = provisioning::reconcile(backend, &wanted, &mut |view| {
            code |= u8::from(!view.state.is_settled());
            list.row(&view, &ROWS, || row(&view))
        });
        let warnings = match done {
            Ok(warnings) => warnings,
            Err(failure) => {
                list.cut_short();
                return Err(failure.into());
            }
        };
        let count = list.end()?;
        code |= u8::from(!warnings.is_empty());
        app.warn_all(&warnings);
        if count == 0 && warnings.is_empty() {
            app.printer.status("Nothing differs");
        }
        Ok(code)
    }

    fn changes(&self) -> bool {
        self.fix || self.accept_restore
    }
}

const ROWS: [Column; 6] = [
    Column("CONNECTOR", Fit::Whole),
    Column("STATE", Fit::Whole),
    Column("LOGIN", Fit::Whole),
    Column("WHAT", Fit::Wrap),
    Column("REQUEST", Fit::Drop),
    Column("WHY", Fit::Wrap),
];

fn row(view: &ReconcileView) -> Vec<Shown> {
    let color = match view.state {
        ReconcileState::Granted | ReconcileState::Revoked => Color::Green,
        ReconcileState::Missing
        | ReconcileState::Stale
        | ReconcileState::Unexplained
        | ReconcileState::Busy
        | ReconcileState::Offline => Color::Yellow,
        ReconcileState::GrantFailed
        | ReconcileState::RevokeFailed
        | ReconcileState::Refused
        | ReconcileState::Unreachable => Color::Red,
    };
    let requests: Vec<String> = view.requests.iter().map(ToString::to_string).collect();
    vec![
        view.connector.to_string().into(),
        Shown(view.state.as_str().to_owned(), Some(color)),
        view.login.as_ref().map(|login| line(login.as_str()).into_owned()).unwrap_or_default().into(),
        what(view).into(),
        requests.join(", ").into(),
        line(view.error.as_deref().or(view.note.as_deref()).unwrap_or_default()).into_owned().into(),
    ]
}

fn what(view: &ReconcileView) -> String {
    view.parameters.as_ref().map(|parameters| line(&written(parameters)).into_owned()).unwrap_or_default()
}

/// One row as a line: `orders-pg: granted role=orders_rw to bob (12)`.
pub fn in_words(view: &ReconcileView) -> String {
    let mut words = format!("{}: {}", view.connector, view.state.as_str());
    for part in [what(view), view.login.as_ref().map(|login| format!("for {login}")).unwrap_or_default()] {
        if !part.is_empty() {
            words = format!("{words} {part}");
        }
    }
    if !view.requests.is_empty() {
        words = format!("{words} ({})", requests(&view.requests));
    }
    match view.error.as_ref().or(view.note.as_ref()) {
        Some(why) => format!("{words}: {why}"),
        None => words,
    }
}

impl App {
    fn watch_systems(&mut self, names: &[Name]) -> Result<u8> {
        let db = self.backend.db().map(ToOwned::to_owned);
        // Found now, since a new version may replace the program later.
        let program = std::env::current_exe().context("the path of this program can't be found")?;
        let command = |name: &Name| {
            let mut command = provisioning::run_command(&program, db.as_deref());
            command.arg("--json").arg(name.as_str());
            command
        };
        let backend = self.backend.get()?;
        let printer = &mut self.printer;
        printer.status("Carrying access to its systems; Ctrl-C stops");
        provisioning::watch(backend, &command, names, &mut |watched| {
            match watched {
                Watched::Row(view) if printer.is_json() => printer.json_line(&view)?,
                // As long as it runs, what it does is its result.
                Watched::Row(view) => printer.raw(format!("{}\n", line(&in_words(&view))).as_bytes())?,
                Watched::Trouble(why) => printer.warn(&why),
            }
            printer.flush()
        })?;
        Ok(0)
    }

    /// If somebody was given access, or lost it: carries it to the systems that enforce it.
    pub fn start_reconciler(&mut self) {
        if std::mem::take(&mut self.access_changed)
            && let Ok(backend) = self.backend()
        {
            provisioning::in_background(backend, self.backend.db());
        }
    }
}
