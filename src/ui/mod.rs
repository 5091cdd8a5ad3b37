//! The only place that prints: results to stdout, everything else to stderr. Decides nothing.

mod csv;
mod escape;
mod fold;
mod form;
mod human;
mod notify;
mod progress;
mod report;
mod table;

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use fold::Sheet;
pub use human::counted;
use progress::Progress;
pub use report::{help, report};
use report::{in_color, print_failure};
use serde::Serialize;
use table::{Column, Layout, Shown};

use crate::cli::Global;
use crate::command::{Command, NeedsView, ProfileView, Reply, RequestView};
use crate::domain::team::team_file;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};

/// How answers are given: for people or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Human,
    Json,
}

/// What an answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One thing; JSON: an object.
    One,
    /// Any number of the same; JSON: an array.
    Many,
    /// One request, shown whole.
    Whole,
    /// What would happen.
    DryRun,
    JsonLines,
    Csv,
}

/// A row's worth of a table before it is drawn; so many make a page.
const PAGE: usize = 200;

pub struct Printer {
    mode: Mode,
    quiet: bool,
    /// Whether standard output and standard error are coloured.
    color: bool,
    stderr_color: bool,
    /// The width of the terminal. None: standard output is none.
    width: Option<usize>,
    now: Timestamp,
    out: BufWriter<Pipe>,
    progress: Progress,
}

/// Standard output. Once its reader has closed it, the rest is discarded: the command still runs to its end, and its exit
/// code is still the answer's.
struct Pipe {
    stdout: Stdout,
    closed: bool,
    /// Whether something could not be written, such as to a full disk.
    broken: bool,
}

impl Pipe {
    fn unless_closed<T>(&mut self, discarded: T, write: impl FnOnce(&mut Stdout) -> io::Result<T>) -> io::Result<T> {
        if self.closed {
            return Ok(discarded);
        }
        match write(&mut self.stdout) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(discarded)
            }
            Err(error) => {
                self.broken = error.kind() != io::ErrorKind::Interrupted;
                Err(error)
            }
            written => written,
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_closed(bytes.len(), |stdout| stdout.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_closed((), Stdout::flush)
    }
}

/// An answer on its way out.
pub struct Answer<'p> {
    printer: &'p mut Printer,
    shape: Shape,
    columns: &'static [Column],
    /// The rows of the first page, until it is drawn.
    rows: Vec<Vec<Shown>>,
    /// How the table goes on once it is.
    layout: Option<Layout>,
    line: String,
    count: usize,
}

impl Printer {
    pub fn new(global: &Global, now: Timestamp) -> Printer {
        let color = in_color(global.color, io::stdout().is_terminal());
        Printer {
            mode: if global.json { Mode::Json } else { Mode::Human },
            quiet: global.quiet,
            color,
            stderr_color: in_color(global.color, io::stderr().is_terminal()),
            width: width(io::stdout().is_terminal()),
            now,
            out: BufWriter::with_capacity(64 * 1024, Pipe { stdout: io::stdout(), closed: false, broken: false }),
            progress: Progress::default(),
        }
    }

    pub fn is_json(&self) -> bool {
        self.mode == Mode::Json
    }

    pub fn in_color(&self) -> bool {
        self.color
    }

    /// Whether standard output was closed by its reader, so that nothing more can be shown.
    pub fn is_closed(&self) -> bool {
        self.out.get_ref().closed
    }

    /// Whether something could not be written to standard output.
    pub fn is_broken(&self) -> bool {
        self.out.get_ref().broken
    }

    pub fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    pub fn answer(&mut self, shape: Shape) -> Answer<'_> {
        Answer { printer: self, shape, columns: &[], rows: Vec::new(), layout: None, line: String::new(), count: 0 }
    }

    /// A line of a result for people; nothing in JSON.
    pub fn print(&mut self, words: &str) -> io::Result<()> {
        match self.mode {
            Mode::Human if !self.quiet => writeln!(self.out, "{}", escape::lines(words)),
            Mode::Human | Mode::Json => Ok(()),
        }
    }

    /// The same as an object in JSON.
    pub fn print_or<T: Serialize>(&mut self, words: &str, value: &T) -> io::Result<()> {
        match self.mode {
            Mode::Human => self.print(words),
            Mode::Json => self.json(value),
        }
    }

    /// A text that is the result itself, whatever the mode.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    fn json<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        write_value(&mut self.out, value)?;
        writeln!(self.out)
    }

    /// A profile in place of the one before, on a terminal.
    pub fn redraw(&mut self, view: &ProfileView) -> io::Result<()> {
        // Home, then each line cleared as it is written, then the rest of the screen: nothing flickers.
        let mut sheet = Sheet::new(self.width);
        human::profile(&mut sheet, view);
        let text = sheet.into_text().replace('\n', "\x1b[K\n");
        write!(self.out, "\x1b[H{text}\x1b[K\n(Ctrl-C ends)\x1b[J")?;
        self.out.flush()
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// A request, for the person who is about to be asked about it.
    pub fn present(&mut self, view: &RequestView) {
        let now = self.now;
        self.preview(|sheet| human::request(sheet, view, now));
    }

    /// What it takes to ask for something, before anything is asked.
    pub fn present_needs(&mut self, view: &NeedsView) {
        self.preview(|sheet| form::needs(sheet, view));
    }

    /// A request as it would be filed.
    pub fn present_draft(&mut self, view: &RequestView) {
        let now = self.now;
        self.preview(|sheet| form::summary(sheet, view, now));
    }

    /// What a command would do, for the person who is about to be asked.
    pub fn present_plan(&mut self, view: &crate::command::PlanView) {
        self.preview(|sheet| human::plan(sheet, view));
    }

    /// What a revocation would end, for the person who is about to be asked.
    pub fn present_ending(&mut self, views: &[RequestView]) {
        let lines: Vec<String> = views.iter().map(|view| format!("  {}\n", human::in_short(view, self.now))).collect();
        self.preview(|sheet| sheet.push(&lines.concat()));
    }

    /// What another process of this program said on its standard error.
    pub fn relay(&mut self, said: &[u8]) {
        let _ = self.out.flush();
        let _ = io::stderr().write_all(said);
    }

    fn preview(&mut self, write: impl FnOnce(&mut Sheet)) {
        let mut sheet = Sheet::new(width(io::stderr().is_terminal()));
        write(&mut sheet);
        let _ = write!(io::stderr(), "{}", escape::lines(&sheet.into_text()));
    }

    /// Something to know, though all went well.
    pub fn warn(&mut self, warning: &str) {
        let _ = self.out.flush();
        let warning = &escape::bounded(warning);
        let _ = match self.mode {
            Mode::Human => writeln!(io::stderr(), "{} {}", self.paint("33", "warning:"), escape::lines(warning)),
            Mode::Json => writeln!(io::stderr(), "{}", serde_json::json!({ "warning": warning })),
        };
    }

    pub fn hint(&mut self, hint: &str) {
        if !self.quiet && self.mode == Mode::Human {
            let _ = self.out.flush();
            let _ = writeln!(io::stderr(), "{} {}", self.paint("36", "hint:"), escape::lines(hint));
        }
    }

    /// A quiet line at the end.
    pub fn status(&mut self, words: &str) {
        if !self.quiet && self.mode == Mode::Human {
            let _ = self.out.flush();
            let _ = writeln!(io::stderr(), "{}", self.paint("2", words));
        }
    }

    fn paint(&self, code: &str, words: &str) -> String {
        if self.stderr_color { format!("\x1b[{code}m{words}\x1b[0m") } else { words.to_owned() }
    }

    pub fn fail(&mut self, failure: &Failure) {
        let _ = self.out.flush();
        print_failure(failure, self.is_json(), self.stderr_color);
    }
}

/// The width to draw for: the terminal's. None where there is none: then nothing has to fit.
fn width(terminal: bool) -> Option<usize> {
    const LEAST: usize = 20;
    let told = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|&columns| columns > 0);
    let seen = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).filter(|&columns| columns > 0);
    terminal.then(|| told().or_else(seen).unwrap_or(80).max(LEAST))
}

/// Writing to standard output failed. (A closed pipe is no failure: see `Pipe`.)
pub fn broken(error: io::Error) -> Failure {
    Failure::new(Kind::Io, format!("the output can't be written: {error}"))
}

impl Answer<'_> {
    /// Prints one piece, or keeps it until a page of them can be drawn.
    pub fn put(&mut self, reply: Reply) -> Result<(), Failure> {
        if let Reply::Progress { done, waiting } = reply {
            let shown = self.printer.mode == Mode::Human && !self.printer.quiet && io::stderr().is_terminal();
            if shown {
                self.printer.progress.show(done, waiting);
            }
            return Ok(());
        }
        self.printer.progress.clear();
        self.write(reply).map_err(broken)
    }

    fn write(&mut self, reply: Reply) -> io::Result<()> {
        match (self.shape, self.printer.mode) {
            (Shape::Csv, _) => self.csv(&reply),
            (Shape::JsonLines, _) => self.element(&reply, "", ""),
            (Shape::Many, Mode::Json) => self.element(&reply, "[", ","),
            (Shape::One | Shape::Whole | Shape::DryRun, Mode::Json) => self.element(&reply, "", ""),
            (Shape::One | Shape::Many | Shape::Whole | Shape::DryRun, Mode::Human) => self.human(reply),
        }
    }

    fn element(&mut self, reply: &Reply, open: &str, comma: &str) -> io::Result<()> {
        let out = &mut self.printer.out;
        match (open, self.count) {
            ("", 0) => {}
            ("", _) => writeln!(out)?,
            (_, 0) => writeln!(out, "{open}")?,
            (_, _) => writeln!(out, "{comma}")?,
        }
        self.count += 1;
        write_json(out, reply)
    }

    fn csv(&mut self, reply: &Reply) -> io::Result<()> {
        if self.count == 0 {
            self.printer.out.write_all(csv::HEADER.as_bytes())?;
        }
        self.count += 1;
        match reply {
            Reply::Entry(entry) => csv::entry(&mut self.printer.out, entry),
            Reply::Request(_)
            | Reply::Team(_)
            | Reply::Plan(_)
            | Reply::Resource(_)
            | Reply::Found(_)
            | Reply::Needs(_)
            | Reply::Waiting(_)
            | Reply::Profile(_)
            | Reply::Check(_)
            | Reply::Holder(_)
            | Reply::Notification(_)
            | Reply::Expired(_)
            | Reply::Raw(_)
            | Reply::Verified(_)
            | Reply::Checkpoint(_)
            | Reply::Finding(_)
            | Reply::BackedUp(_)
            | Reply::Word { .. }
            | Reply::Preferences(_)
            | Reply::Tested(_)
            | Reply::Delivered(_)
            | Reply::Queued(_)
            | Reply::Progress { .. } => Ok(()),
        }
    }

    fn human(&mut self, reply: Reply) -> io::Result<()> {
        self.count += 1;
        let (now, color, quiet) = (self.printer.now, self.printer.color, self.printer.quiet);
        let mut sheet = Sheet::new(self.printer.width);
        match reply {
            Reply::Request(view) => match self.shape {
                Shape::Many => return self.row(&human::REQUESTS, human::request_row(&view, now)),
                Shape::Whole => human::request(&mut sheet, &view, now),
                Shape::DryRun => human::would_submit(&mut sheet, &view, now),
                Shape::One | Shape::JsonLines | Shape::Csv => human::outcomes(&mut sheet, &view, now),
            },
            Reply::Team(team) => sheet.push(&team_file::write(&team)),
            Reply::Plan(view) => human::plan(&mut sheet, &view),
            Reply::Resource(view) => return self.row(&human::RESOURCES, human::resource_row(&view, now)),
            Reply::Found(resource) => sheet.line(&resource.to_string()),
            Reply::Needs(view) => form::needs(&mut sheet, &view),
            Reply::Waiting(id) => sheet.line(&id.to_string()),
            Reply::Profile(view) => human::profile(&mut sheet, &view),
            Reply::Check(_) | Reply::Expired(_) | Reply::Delivered(_) if quiet => {}
            Reply::Check(view) => sheet.line(&human::check(&view)),
            Reply::Holder(view) => return self.row(&human::HOLDERS, human::holder_row(&view, now)),
            Reply::Notification(view) => return self.row(&human::NOTIFICATIONS, human::notification_row(&view, now)),
            Reply::Expired(view) => sheet.push(&human::expired(&view)),
            Reply::Entry(view) => return self.row(&human::ENTRIES, human::entry_row(&view)),
            Reply::Verified(view) => human::verified(&mut sheet, &view),
            Reply::Checkpoint(_) => {
                // One line to keep, the same for people and programs.
                write_json(&mut self.printer.out, &reply)?;
                return writeln!(self.printer.out);
            }
            // These two are escaped where they are made, and may hold colours.
            Reply::Finding(view) => {
                human::finding(&mut sheet, &view, color);
                return self.printer.out.write_all(sheet.into_text().as_bytes());
            }
            Reply::Preferences(view) => {
                notify::preferences(&mut sheet, &view, color);
                return self.printer.out.write_all(sheet.into_text().as_bytes());
            }
            Reply::BackedUp(view) => human::backed_up(&mut sheet, &view),
            Reply::Word { word, .. } => sheet.line(&word),
            Reply::Tested(view) => notify::tested(&mut sheet, &view),
            Reply::Delivered(view) => sheet.push(&notify::delivered(&view)),
            Reply::Queued(view) => return self.row(&notify::QUEUED, notify::queued_row(&view, now)),
            // Always JSON, a line each.
            Reply::Raw(_) | Reply::Progress { .. } => {}
        }
        self.printer.out.write_all(escape::lines(&sheet.into_text()).as_bytes())
    }

    /// Whether nobody reads the answer any more.
    pub fn is_closed(&self) -> bool {
        self.printer.is_closed()
    }

    /// A failure among the pieces.
    pub fn fail(&mut self, failure: &Failure) {
        self.printer.fail(failure);
    }

    fn row(&mut self, columns: &'static [Column], row: Vec<Shown>) -> io::Result<()> {
        if let Some(layout) = &self.layout {
            self.line.clear();
            layout.row(&row, self.printer.color, &mut self.line);
            return self.printer.out.write_all(self.line.as_bytes());
        }
        self.columns = columns;
        self.rows.push(row);
        if self.rows.len() >= PAGE { self.page() } else { Ok(()) }
    }

    /// Draws the first page.
    fn page(&mut self) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let layout = Layout::of(self.columns, &rows, self.printer.width);
        let drawn = layout.first_page(&rows, self.printer.color);
        self.layout = Some(layout);
        self.printer.out.write_all(drawn.as_bytes())
    }

    /// Leaves an answer that failed on its way as it stands: an array that is not closed can't be taken for whole,
    /// and one that never began is not an empty one.
    pub fn cut_short(mut self) {
        let _ = self.page();
        let _ = self.printer.out.flush();
    }

    /// Ends the answer. Gives how many pieces it had.
    pub fn end(mut self) -> Result<usize, Failure> {
        self.close().map_err(broken)?;
        Ok(self.count)
    }

    fn close(&mut self) -> io::Result<()> {
        match (self.shape, self.printer.mode, self.count) {
            (Shape::Csv, _, 0) => self.printer.out.write_all(csv::HEADER.as_bytes())?,
            (Shape::Csv, ..) | (Shape::JsonLines, _, 0) => {}
            (Shape::JsonLines, ..) => writeln!(self.printer.out)?,
            (Shape::Many, Mode::Json, 0) => writeln!(self.printer.out, "[]")?,
            (Shape::Many, Mode::Json, _) => writeln!(self.printer.out, "\n]")?,
            (_, Mode::Json, 0) => {}
            (_, Mode::Json, _) => writeln!(self.printer.out)?,
            (_, Mode::Human, _) => self.page()?,
        }
        self.printer.out.flush()
    }
}

fn write_json(out: &mut dyn Write, reply: &Reply) -> io::Result<()> {
    match reply {
        Reply::Request(view) => write_value(out, view),
        Reply::Team(team) => write_value(out, team),
        Reply::Plan(view) => write_value(out, view),
        Reply::Resource(view) => write_value(out, view),
        Reply::Profile(view) => write_value(out, view),
        Reply::Found(resource) => write_value(out, resource),
        Reply::Needs(view) => write_value(out, view),
        Reply::Waiting(id) => write_value(out, id),
        Reply::Check(view) => write_value(out, view),
        Reply::Holder(view) => write_value(out, view),
        Reply::Notification(view) => write_value(out, view),
        Reply::Expired(view) => write_value(out, view),
        Reply::Entry(view) => write_value(out, view),
        Reply::Raw(view) => write_value(out, view),
        Reply::Verified(view) => write_value(out, view),
        Reply::Checkpoint(view) => write_value(out, view),
        Reply::Finding(view) => write_value(out, view),
        Reply::BackedUp(view) => write_value(out, view),
        Reply::Word { word, help } => write_value(out, &(word, help)),
        Reply::Preferences(view) => write_value(out, view),
        Reply::Tested(view) => write_value(out, view),
        Reply::Delivered(view) => write_value(out, view),
        Reply::Queued(view) => write_value(out, view),
        Reply::Progress { done, waiting } => write_value(out, &(done, waiting)),
    }
}

/// A value as JSON, in which nothing acts on a terminal and everything can be seen.
fn write_value<T: Serialize + ?Sized>(out: &mut dyn Write, value: &T) -> io::Result<()> {
    // Room for most values, so that it does not grow step by step.
    let mut text = Vec::with_capacity(1024);
    serde_json::to_writer(&mut text, value)?;
    if text.is_ascii() {
        return out.write_all(&text);
    }
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    out.write_all(escape::json(&text).as_bytes())
}

/// What a command's answer looks like.
pub fn shape(command: &Command) -> Shape {
    match command {
        Command::Request(ask) if ask.dry_run => Shape::DryRun,
        Command::Edit { dry_run: true, .. } => Shape::DryRun,
        Command::Show { .. } => Shape::Whole,
        Command::Resources { .. }
        | Command::List(_)
        | Command::Who { .. }
        | Command::Inbox { .. }
        | Command::RevokeMember { .. }
        | Command::Audit(_)
        | Command::Doctor { .. }
        | Command::Queue
        | Command::Words(_)
        | Command::NotifyTest
        | Command::Outbox { .. } => Shape::Many,
        Command::AuditExport | Command::AuditExportRaw => Shape::JsonLines,
        Command::TeamApply { .. }
        | Command::ReplaceOwner { .. }
        | Command::TeamShow
        | Command::Find { .. }
        | Command::Needs(_)
        | Command::NeedsToExtend { .. }
        | Command::Request(_)
        | Command::Extend { .. }
        | Command::Edit { .. }
        | Command::Review { .. }
        | Command::Approve { .. }
        | Command::Deny { .. }
        | Command::Withdraw { .. }
        | Command::Revoke { .. }
        | Command::Whoami
        | Command::Check { .. }
        | Command::MarkRead { .. }
        | Command::Unread
        | Command::Expire { .. }
        | Command::AuditVerify { .. }
        | Command::AuditCheckpoint
        | Command::Backup { .. }
        | Command::AcceptClock
        | Command::Preferences
        | Command::Prefer(_)
        | Command::Deliver
        | Command::OutboxRetry { .. }
        | Command::OutboxDiscard { .. } => Shape::One,
    }
}
