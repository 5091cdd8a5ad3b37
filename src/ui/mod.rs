//! The only place that prints: results to stdout, everything else to stderr. Decides nothing.

pub mod csv;
mod escape;
mod fold;
mod html;
mod page;
mod progress;
pub mod recertification;
mod report;
pub mod request;
mod sheets;
mod table;

use std::io;
use std::io::{BufWriter, IsTerminal, Stdout, Write};

use clap::ValueEnum;
use progress::ProgressBar;
use report::{in_color, print_failure, sentence};
use serde::Serialize;
use table::TableWriter;

use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::{AsOfLast, COUNTED, EntryView, Progress, RequestView};

pub use escape::{bounded, json, line, lines};
pub use fold::Sheet;
pub use html::{Html, grouped};
pub use page::page;
pub use report::{help, report};
pub use sheets::Sheets;
pub use table::{Color, Column, Fit, NARROW, Shown, table};

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    Auto,
    Always,
    Never,
}

/// How answers are given: for people or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Human,
    Json,
}

/// So many rows of a table are drawn at once.
const PAGE: usize = 200;

pub struct Printer {
    mode: Mode,
    quiet: bool,
    /// Whether standard output and standard error are coloured.
    color: bool,
    stderr_color: bool,
    /// The width of the terminal. None: standard output is not a terminal.
    width: Option<usize>,
    now: Timestamp,
    out: BufWriter<Pipe>,
    progress: ProgressBar,
    /// What the copy of a shared log knew that gave the answer.
    as_of: AsOfLast,
}

/// Standard output. Once its reader has closed it, the rest is discarded: the command still runs to its end, and its exit
/// code is still the answer's.
struct Pipe {
    stdout: Stdout,
    closed: bool,
    /// Why something could not be written, such as to a full disk. Nothing is written after that: there would be a gap, and a
    /// command whose output is lost has to fail, even if a later write would succeed.
    broken: Option<(io::ErrorKind, Option<i32>)>,
}

impl Pipe {
    fn new() -> Pipe {
        Pipe { stdout: io::stdout(), closed: false, broken: None }
    }

    fn unless_closed<T>(&mut self, discarded: T, write: impl FnOnce(&mut Stdout) -> io::Result<T>) -> io::Result<T> {
        if self.closed {
            return Ok(discarded);
        }
        if let Some((kind, number)) = self.broken {
            return Err(number.map_or_else(|| io::Error::from(kind), io::Error::from_raw_os_error));
        }
        match write(&mut self.stdout) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(discarded)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.broken = Some((error.kind(), error.raw_os_error()));
                }
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

impl Printer {
    pub fn new(json: bool, quiet: bool, color: ColorWhen, now: Timestamp) -> Printer {
        Printer {
            mode: if json { Mode::Json } else { Mode::Human },
            quiet,
            color: in_color(color, io::stdout().is_terminal()),
            stderr_color: in_color(color, io::stderr().is_terminal()),
            width: width(io::stdout().is_terminal()),
            now,
            out: BufWriter::with_capacity(64 * 1024, Pipe::new()),
            progress: ProgressBar::default(),
            as_of: AsOfLast::default(),
        }
    }

    /// Takes what an answer knew from here.
    #[must_use]
    pub fn noting(self, as_of: AsOfLast) -> Printer {
        Printer { as_of, ..self }
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
        self.out.get_ref().broken.is_some()
    }

    pub fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Standard output, for a protocol between programs.
    pub fn output(&mut self) -> &mut impl Write {
        &mut self.out
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// One value as the answer: for people as `words` writes it, in JSON as an object.
    pub fn object<T: Serialize>(&mut self, value: &T, words: impl FnOnce(&mut Sheet)) -> Result<(), Failure> {
        self.progress.clear();
        match self.mode {
            Mode::Json => self.dated(value),
            Mode::Human => self.sheet(words),
        }
        .and_then(|()| self.out.flush())
        .map_err(broken)
    }

    /// Any number of values as the answer: for people as a table or line by line, in JSON as an array.
    pub fn list(&mut self) -> Listing<'_> {
        Listing { printer: self, rows: Vec::new(), table: None, count: 0 }
    }

    /// A line of a result for people; nothing in JSON.
    pub fn print(&mut self, words: &str) -> Result<(), Failure> {
        match self.mode {
            Mode::Human if !self.quiet => writeln!(self.out, "{}", escape::lines(words)).map_err(broken),
            Mode::Human | Mode::Json => Ok(()),
        }
    }

    /// The same as an object in JSON.
    pub fn print_or<T: Serialize>(&mut self, words: &str, value: &T) -> Result<(), Failure> {
        match self.mode {
            Mode::Human => self.print(words),
            Mode::Json => self.dated(value).map_err(broken),
        }
    }

    /// A text that is the result itself, whatever the mode.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(broken)
    }

    /// A value as a line of JSON, whatever the mode.
    pub fn json_line<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        self.json(value).map_err(broken)
    }

    pub fn csv_header(&mut self, header: &str) -> Result<(), Failure> {
        self.out.write_all(header.as_bytes()).map_err(broken)
    }

    pub fn csv_entry(&mut self, entry: &EntryView) -> Result<(), Failure> {
        csv::entry(&mut self.out, entry).map_err(broken)
    }

    pub fn csv_request(&mut self, view: &RequestView) -> Result<(), Failure> {
        csv::request(&mut self.out, view).map_err(broken)
    }

    fn json<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        write_value(&mut self.out, value)?;
        writeln!(self.out)
    }

    /// An object, with what the copy of a shared log knew that gave it.
    fn dated<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let Some(as_of) = self.as_of.get() else { return self.json(value) };
        let text = serde_json::to_string(value)?;
        match text.strip_suffix('}') {
            Some(fields) => {
                let comma = if fields == "{" { "" } else { "," };
                let as_of = serde_json::to_string(&as_of)?;
                write_text(&mut self.out, format!("{fields}{comma}\"as_of\":{as_of}}}").into_bytes())?;
                writeln!(self.out)
            }
            None => {
                self.json(value)?;
                self.tell_as_of();
                Ok(())
            }
        }
    }

    /// What has no place in an array: what the copy of a shared log knew that gave it, if that is old.
    fn tell_as_of(&self) {
        if let (false, Some(as_of)) = (self.quiet, self.as_of.get().filter(|as_of| !as_of.is_fresh())) {
            let _ = writeln!(io::stderr(), "{}", serde_json::json!({ "as_of": as_of }));
        }
    }

    fn sheet(&mut self, words: impl FnOnce(&mut Sheet)) -> io::Result<()> {
        let mut sheet = Sheet::new(self.width);
        words(&mut sheet);
        self.out.write_all(escape::lines(&sheet.into_text()).as_bytes())
    }

    /// The answer as text that is escaped already, since it holds colours. `words`: given whether it may.
    fn painted(&mut self, words: impl FnOnce(&mut Sheet, bool)) -> io::Result<()> {
        let mut sheet = Sheet::new(self.width);
        words(&mut sheet, self.color);
        self.out.write_all(sheet.into_text().as_bytes())
    }

    /// One value as the answer, in text that is escaped already, since it holds colours.
    pub fn painted_object<T: Serialize>(
        &mut self,
        value: &T,
        words: impl FnOnce(&mut Sheet, bool),
    ) -> Result<(), Failure> {
        match self.mode {
            Mode::Json => self.dated(value),
            Mode::Human => self.painted(words),
        }
        .and_then(|()| self.out.flush())
        .map_err(broken)
    }

    /// Text in place of what is on the terminal. Nothing flickers: the cursor goes home, each line is cleared as it is
    /// written, then the rest of the screen.
    pub fn redraw(&mut self, words: impl FnOnce(&mut Sheet)) -> Result<(), Failure> {
        let mut sheet = Sheet::new(self.width);
        words(&mut sheet);
        let text = sheet.into_text().replace('\n', "\x1b[K\n");
        write!(self.out, "\x1b[H{text}\x1b[K\n(Ctrl-C ends)\x1b[J").map_err(broken)?;
        self.flush()
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(broken)
    }

    /// How far something that takes time is, on a terminal.
    pub fn progress(&mut self, progress: Progress) {
        if self.mode == Mode::Human && !self.quiet && io::stderr().is_terminal() {
            self.progress.show(progress.done, progress.waiting);
        }
    }

    /// What another process of this program wrote to its standard error.
    pub fn relay(&mut self, text: &[u8]) {
        let _ = self.out.flush();
        let _ = io::stderr().write_all(text);
    }

    /// What is about to be asked about or done, on standard error.
    pub fn preview(&mut self, words: impl FnOnce(&mut Sheet)) {
        let mut sheet = Sheet::new(width(io::stderr().is_terminal()));
        words(&mut sheet);
        let _ = write!(io::stderr(), "{}", escape::lines(&sheet.into_text()));
    }

    /// Something to know, although the command succeeded.
    pub fn warn(&mut self, warning: &str) {
        let _ = self.out.flush();
        let warning = &escape::bounded(warning);
        let _ = match self.mode {
            Mode::Human => writeln!(io::stderr(), "{} {}", self.paint("33", "warning:"), sentence(warning)),
            Mode::Json => writeln!(io::stderr(), "{}", serde_json::json!({ "warning": warning })),
        };
    }

    pub fn hint(&mut self, hint: &str) {
        if !self.quiet && self.mode == Mode::Human {
            let _ = self.out.flush();
            let _ = writeln!(io::stderr(), "{} {}", self.paint("36", "hint:"), escape::lines(hint));
        }
    }

    /// A line on standard error for the person at the terminal.
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

/// The width of the terminal. None: there is no terminal, and nothing has to fit.
fn width(terminal: bool) -> Option<usize> {
    const LEAST: usize = 20;
    let set = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|&columns| columns > 0);
    let seen = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).filter(|&columns| columns > 0);
    terminal.then(|| set().or_else(seen).unwrap_or(80).max(LEAST))
}

/// Writing to standard output failed. (A closed pipe is not a failure; see `Pipe`.)
fn broken(error: io::Error) -> Failure {
    Failure::new(Kind::Io, format!("the output can't be written: {error}"))
}

/// A list on its way out.
pub struct Listing<'p> {
    printer: &'p mut Printer,
    /// The rows of the page that comes next.
    rows: Vec<Vec<Shown>>,
    table: Option<TableWriter>,
    count: usize,
}

impl Listing<'_> {
    /// A row of a table.
    pub fn row<T: Serialize>(
        &mut self,
        value: &T,
        columns: &'static [Column],
        cells: impl FnOnce() -> Vec<Shown>,
    ) -> Result<(), Failure> {
        match self.printer.mode {
            Mode::Json => self.element(value),
            Mode::Human => self.draw(columns, cells()),
        }
        .map_err(broken)
    }

    /// A value as lines of text.
    pub fn item<T: Serialize>(&mut self, value: &T, words: impl FnOnce(&mut Sheet)) -> Result<(), Failure> {
        match self.printer.mode {
            Mode::Json => self.element(value),
            Mode::Human => {
                self.count += 1;
                self.printer.sheet(words)
            }
        }
        .map_err(broken)
    }

    /// The same of text that is escaped already, since it holds colours. `words`: given whether it may.
    pub fn painted<T: Serialize>(&mut self, value: &T, words: impl FnOnce(&mut Sheet, bool)) -> Result<(), Failure> {
        match self.printer.mode {
            Mode::Json => self.element(value),
            Mode::Human => {
                self.count += 1;
                self.printer.painted(words)
            }
        }
        .map_err(broken)
    }

    pub fn now(&self) -> Timestamp {
        self.printer.now
    }

    fn element<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        writeln!(self.printer.out, "{}", if self.count == 0 { "[" } else { "," })?;
        self.count += 1;
        write_value(&mut self.printer.out, value)
    }

    fn draw(&mut self, columns: &'static [Column], row: Vec<Shown>) -> io::Result<()> {
        self.count += 1;
        let (width, color) = (self.printer.width, self.printer.color);
        self.table.get_or_insert_with(|| TableWriter::new(columns, width, color));
        self.rows.push(row);
        if self.rows.len() >= PAGE { self.page() } else { Ok(()) }
    }

    fn page(&mut self) -> io::Result<()> {
        match &mut self.table {
            Some(table) if !self.rows.is_empty() => {
                let drawn = table.page(&self.rows);
                self.rows.clear();
                self.printer.out.write_all(drawn.as_bytes())
            }
            _ => Ok(()),
        }
    }

    /// Whether nobody reads the list any more.
    pub fn is_closed(&self) -> bool {
        self.printer.is_closed()
    }

    /// A failure among the values.
    pub fn fail(&mut self, failure: &Failure) {
        self.printer.fail(failure);
    }

    /// Leaves a list that failed as it is: a JSON array without its end can't be taken for whole.
    pub fn cut_short(mut self) {
        let _ = self.page();
        let _ = self.printer.out.flush();
    }

    /// Ends the list. Gives how many values it had.
    pub fn end(mut self) -> Result<usize, Failure> {
        self.close().map_err(broken)?;
        Ok(self.count)
    }

    fn close(&mut self) -> io::Result<()> {
        match (self.printer.mode, self.count) {
            (Mode::Json, 0) => writeln!(self.printer.out, "[]")?,
            (Mode::Json, _) => writeln!(self.printer.out, "\n]")?,
            (Mode::Human, _) => self.page()?,
        }
        self.printer.out.flush()?;
        if self.printer.is_json() {
            self.printer.tell_as_of();
        }
        Ok(())
    }
}

/// A count that stopped at one more than `COUNTED`.
pub fn counted(count: u64) -> String {
    if count > COUNTED { format!("more than {},{:03}", COUNTED / 1000, COUNTED % 1000) } else { count.to_string() }
}

/// A value as JSON, in which nothing acts on a terminal and everything can be seen.
fn write_value<T: Serialize + ?Sized>(out: &mut dyn Write, value: &T) -> io::Result<()> {
    // Room for most values, so that it does not grow step by step.
    let mut text = Vec::with_capacity(1024);
    serde_json::to_writer(&mut text, value)?;
    write_text(out, text)
}

fn write_text(out: &mut dyn Write, text: Vec<u8>) -> io::Result<()> {
    if text.is_ascii() {
        return out.write_all(&text);
    }
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    out.write_all(escape::json(&text).as_bytes())
}
