//! `access report`: a report about a period, to hand to an auditor.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::Run;
use super::app::App;
use super::output::{NewFolder, write_file};
use crate::domain::duration::{Length, brief};
use crate::domain::text::quantity;
use crate::error::{Failure, Kind};
use crate::files::not_written;
use crate::protocol::ReportRow;
use crate::report::{Evidence, Figure, FiguresView};
use crate::service::PeriodReport;
use crate::time_format::date_and_time;
use crate::time_input::{self, Pick, TypedTime};
use crate::ui::{Sheet, Sheets, grouped, page};

/// A report about a period, to hand over (admins and auditors). Exit 1: the log is not whole
#[derive(Debug, Args)]
#[command(
    after_help = "Verifies the log, then shows who held what and when, the requests and how long they took to decide, \
emergencies and their reviews, permanent access, recertifications, what was denied or refused, changes of the team, and \
members without use. Every figure names the entries of the log that it rests on.

The page is one file that needs nothing else. It shows the last of each list; the CSV files have everything. Without \
--html and --csv, the figures are printed.

Examples:
  access report
  access report --html report.html
  access report --since 2026-07-01 --until 2026-10-01 --csv q3"
)]
pub struct ReportArgs {
    /// From this time on (default: 90 days before the end)
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub since: Option<TypedTime>,
    /// Up to this time (default: now)
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub until: Option<TypedTime>,
    /// Write a page of HTML; - for standard output
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write a new folder of CSV files, one for each section
    #[arg(long, value_name = "DIR")]
    pub csv: Option<PathBuf>,
}

/// The default length of the period: 90 days.
const DAYS: i64 = 90;

/// The figures, and where the report is.
#[derive(Serialize)]
struct ReportView<'d> {
    #[serde(flatten)]
    figures: FiguresView,
    html: Option<&'d Path>,
    csv: Option<&'d Path>,
}

impl Run for ReportArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let ReportArgs { since, until, html, csv } = self;
        let to_output = html.as_deref() == Some(Path::new("-"));
        if to_output && app.printer.is_json() {
            return Err(Failure::new(Kind::Usage, "with --json, the page can't go to standard output").into());
        }
        let until = until.map(|until| app.resolve(until, Pick::UpTo)).transpose()?;
        let since = match since {
            Some(since) => app.resolve_since(since)?,
            None => until.unwrap_or(app.clock).minus(Length::from_seconds(DAYS * 86_400)?),
        };
        if until.is_some_and(|until| until < since) {
            return Err(Failure::new(Kind::Usage, "--until is before --since, so nothing can match").into());
        }
        let evidence = app.collect(PeriodReport { since, until }, csv.as_deref())?;
        if to_output {
            app.printer.raw(page(&evidence).as_bytes())?;
        } else if let Some(file) = &html {
            write_file(file, page(&evidence).as_bytes())?;
        }
        if !to_output {
            let view = ReportView { figures: FiguresView::from(&evidence), html: html.as_deref(), csv: csv.as_deref() };
            app.printer.object(&view, |sheet| figures(sheet, &evidence, &view))?;
        }
        let verify = &evidence.opening.verify;
        if !verify.ok {
            let faults = quantity(verify.faults.len(), "fault", "faults");
            app.printer.warn(&format!("the log is not whole: {faults}; run `access audit verify`"));
        }
        Ok(u8::from(!verify.ok))
    }

    fn changes(&self) -> bool {
        self.csv.is_some() || self.html.as_deref().is_some_and(|file| file != Path::new("-"))
    }
}

impl App {
    /// Collects the report, and writes the CSV files as its rows arrive.
    fn collect(&mut self, report: PeriodReport, csv: Option<&Path>) -> Result<Evidence, Failure> {
        let mut evidence: Option<Evidence> = None;
        let mut files: Option<(NewFolder, Sheets<BufWriter<File>>)> = None;
        self.backend()?.call(report, &mut |row| {
            match (row, &mut evidence) {
                (ReportRow::Opening(opening), none) => {
                    *none = Some(Evidence::of(*opening));
                    // Not before: where this process becomes the user who owns the database, that user writes the files.
                    if let Some(path) = csv {
                        let folder = NewFolder::begin(path)?;
                        let sheets = Sheets::create(|name| folder.file(name).map(BufWriter::new));
                        files = Some((folder, sheets.map_err(|error| not_written(path, &error))?));
                    }
                }
                (row, Some(evidence)) => {
                    if let (Some((_, sheets)), Some(path)) = (&mut files, csv) {
                        let (since, until) = (evidence.opening.since, evidence.opening.until);
                        sheets.row(&row, since, until).map_err(|error| not_written(path, &error))?;
                    }
                    evidence.take(row);
                }
                (_, None) => return Err(incomplete()),
            }
            Ok(())
        })?;
        let mut evidence = evidence.ok_or_else(incomplete)?;
        evidence.as_of = self.as_of();
        evidence.close();
        if let (Some((folder, sheets)), Some(path)) = (files, csv) {
            let written = sheets.close(&evidence).map_err(|error| not_written(path, &error))?;
            let files: Result<Vec<File>, _> = written.map(BufWriter::into_inner).collect();
            folder.finish(files.map_err(|error| not_written(path, error.error()))?.into_iter())?;
        }
        Ok(evidence)
    }
}

fn incomplete() -> Failure {
    Failure::new(Kind::Internal, "the report has no beginning")
}

fn figures(sheet: &mut Sheet, evidence: &Evidence, view: &ReportView<'_>) {
    let FiguresView { team, since, until, log, people, resources, .. } = &view.figures;
    let count = |figure: Figure| grouped(evidence.count(figure));
    let of = |figure: Figure, one: &str, many: &str| quantity(evidence.count(figure), one, many);
    sheet.line(&format!("Report for {team}, {} to {}", date_and_time(*since), date_and_time(*until)));
    let entries = grouped(log.entries.unsigned_abs());
    let whole = if log.ok { "whole" } else { "NOT WHOLE" };
    let void = if log.void > 0 { format!(", {} void", log.void) } else { String::new() };
    sheet.field("log", &format!("{whole}, {entries} entries{void}, {} in the period", grouped(log.entries_in_period)));
    sheet.field("head", &log.head);
    let (people, resources) = (quantity(*people, "person", "people"), quantity(*resources, "resource", "resources"));
    let (held, live, permanent) = (count(Figure::Held), count(Figure::Live), count(Figure::Permanent));
    let grants = format!("{held} held by {people} on {resources}; {live} live at the end; {permanent} permanent");
    sheet.field("grants", &grants);
    let (pending, undecided) = (count(Figure::Pending), count(Figure::Undecided));
    let (filed, decided, by_rule) = (count(Figure::Submitted), count(Figure::Decided), count(Figure::ByRule));
    let decided = format!("{filed} filed; {decided} decided by people, {by_rule} granted by a rule");
    sheet.field("requests", &format!("{decided}; {undecided} lapsed or withdrawn; {pending} pending at the end"));
    if let (Some(median), Some(late)) = (evidence.wait(50), evidence.wait(90)) {
        sheet.field("time taken", &format!("median {}, 90th percentile {}", brief(median), brief(late)));
    }
    let owed = of(Figure::ReviewsOwed, "review owed", "reviews owed");
    sheet.field("emergencies", &format!("{}; {owed}", count(Figure::Emergencies)));
    if evidence.count(Figure::Recertifications) > 0 {
        let (reviewed, not_kept) = (count(Figure::Reviewed), count(Figure::NotKept));
        let items = format!("{reviewed} items reviewed, {not_kept} that nobody kept");
        let open = of(Figure::Recertifications, "recertification", "recertifications");
        sheet.field("reviews", &format!("{open}; {items}; {} overdue", count(Figure::Overdue)));
    }
    let refused = of(Figure::Refused, "attempt refused", "attempts refused");
    sheet.field("denied", &format!("{}; {refused}", of(Figure::Denied, "request", "requests")));
    let unused = of(Figure::Unused, "member without use", "members without use");
    sheet.field("team", &format!("{}; {unused}", of(Figure::TeamChanges, "change", "changes")));
    for (label, path) in [("page", view.html), ("files", view.csv)] {
        if let Some(path) = path {
            sheet.field(label, &path.display().to_string());
        }
    }
}
