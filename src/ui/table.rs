//! Tables for people. On a terminal, each page fits into the width, and each row becomes a block of lines where there is too
//! little of it. In a pipe, each row is one line, and nothing is cut or wrapped.

use textwrap::{Options, WordSplitter, wrap};
use unicode_width::UnicodeWidthStr;

use crate::domain::text::fitted;

/// One column: its heading, and what may be done to make it fit.
pub struct Column(pub &'static str, pub Fit);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Whole,
    /// Whole, or left out if there is no room for the rest.
    Drop,
    Shorten,
    /// On as many lines as it takes.
    Wrap,
}

#[derive(Clone, Copy)]
pub enum Color {
    Red,
    Green,
    Yellow,
    Grey,
}

/// A cell and the colour of its text.
pub struct Shown(pub String, pub Option<Color>);

impl From<String> for Shown {
    fn from(text: String) -> Shown {
        Shown(text, None)
    }
}

/// On a narrower terminal every table is drawn as blocks.
pub const NARROW: usize = 60;
/// The least that a text is shortened to, and wrapped to.
const SHORTENED: usize = 12;
const WRAPPED: usize = 20;
/// Between two columns in a pipe.
const PIPED_GAP: usize = 2;
/// The code of a heading.
const BOLD: &str = "1";

/// A whole table as text.
pub fn table(columns: &'static [Column], rows: &[Vec<Shown>], width: Option<usize>, color: bool) -> String {
    TableWriter::new(columns, width, color).page(rows)
}

/// Draws a table page by page, so that a long one is never held as a whole.
pub struct TableWriter {
    columns: &'static [Column],
    /// The width of the terminal. None in a pipe.
    width: Option<usize>,
    color: bool,
    /// In a pipe, the widths of the first page are those of all pages.
    piped: Vec<usize>,
    begun: bool,
}

impl TableWriter {
    pub fn new(columns: &'static [Column], width: Option<usize>, color: bool) -> TableWriter {
        TableWriter { columns, width, color, piped: Vec::new(), begun: false }
    }

    /// Draws the next rows. On a terminal each page has the headings; in a pipe only the first has.
    pub fn page(&mut self, rows: &[Vec<Shown>]) -> String {
        let Some(width) = self.width else { return self.piped_page(rows) };
        let gap = if width < 100 { 1 } else { 2 };
        let drawn = match self.fitting(rows, width, gap) {
            Some(columns) if width >= NARROW => self.table(rows, &columns, width, gap),
            _ => self.blocks(rows, width),
        };
        self.begun = true;
        drawn
    }

    /// The columns that are drawn, each with the least width that it needs. None: not even the most important fit. To make
    /// room, a heading is broken between its words first, never in one; then the columns go that may be dropped.
    fn fitting(&self, rows: &[Vec<Shown>], width: usize, gap: usize) -> Option<Vec<(usize, usize)>> {
        [(false, false), (true, false), (true, true)].into_iter().find_map(|(break_headings, drop)| {
            let kept = self.columns.iter().enumerate().filter(|(_, column)| !drop || column.1 != Fit::Drop);
            let least: Vec<(usize, usize)> = kept
                .map(|(index, Column(heading, fit))| {
                    let content = widest(rows, index).min(match fit {
                        Fit::Whole | Fit::Drop => usize::MAX,
                        Fit::Shorten => SHORTENED,
                        Fit::Wrap => WRAPPED,
                    });
                    let words = heading.split(' ').map(str::len).max().unwrap_or(0);
                    (index, content.max(if break_headings { words } else { heading.len() }))
                })
                .collect();
            let needed: usize = least.iter().map(|(_, width)| width + gap).sum();
            (needed <= width + gap).then_some(least)
        })
    }

    fn table(&self, rows: &[Vec<Shown>], columns: &[(usize, usize)], width: usize, gap: usize) -> String {
        let room = width - gap * columns.len().saturating_sub(1);
        let widths = self.widths(rows, columns, room);
        let heading = |&(index, _): &(usize, usize)| (self.columns[index].0, Some(BOLD), Fit::Wrap);
        let mut text = String::new();
        self.row(columns.iter().map(heading), &widths, gap, &mut text);
        for row in rows {
            let cells = columns.iter().map(|&(index, _)| {
                let Shown(text, color) = &row[index];
                (text.as_str(), color.map(code), self.columns[index].1)
            });
            self.row(cells, &widths, gap, &mut text);
        }
        text
    }

    /// Every column gets what it needs at least. Those that need more share the rest.
    fn widths(&self, rows: &[Vec<Shown>], columns: &[(usize, usize)], room: usize) -> Vec<usize> {
        let wanted = |&(index, least): &(usize, usize)| match self.columns[index].1 {
            Fit::Whole | Fit::Drop => least,
            Fit::Shorten | Fit::Wrap => widest(rows, index).max(least),
        };
        let wanted: Vec<usize> = columns.iter().map(wanted).collect();
        let mut widths: Vec<usize> = columns.iter().map(|&(_, least)| least).collect();
        loop {
            let rest = room.saturating_sub(widths.iter().sum());
            let short: Vec<usize> = (0..widths.len()).filter(|&place| widths[place] < wanted[place]).collect();
            if rest == 0 || short.is_empty() {
                return widths;
            }
            let share = (rest / short.len()).max(1);
            for place in short.into_iter().take(rest) {
                widths[place] = wanted[place].min(widths[place] + share);
            }
        }
    }

    /// A row, on as many lines as it takes.
    fn row<'c>(
        &self,
        cells: impl Iterator<Item = (&'c str, Option<&'static str>, Fit)>,
        widths: &[usize],
        gap: usize,
        text: &mut String,
    ) {
        let cells: Vec<(Vec<String>, Option<&str>)> = cells
            .zip(widths)
            .map(|((content, code, fit), &width)| match fit {
                Fit::Shorten => (vec![fitted(content, width)], code),
                Fit::Whole | Fit::Drop | Fit::Wrap => (wrapped(content, width), code),
            })
            .collect();
        let height = cells.iter().map(|(lines, _)| lines.len()).max().unwrap_or(0);
        for number in 0..height {
            let line = cells.iter().map(|(lines, code)| (lines.get(number).map_or("", String::as_str), *code));
            self.line(line, widths, gap, text);
        }
    }

    /// A block of lines for each row, each with a heading and its value. Empty values are left out.
    fn blocks(&self, rows: &[Vec<Shown>], width: usize) -> String {
        let label = self.columns.iter().map(|column| column.0.len()).max().unwrap_or(0);
        let widths = [label, width.saturating_sub(label + 1)];
        let blocks = rows.iter().map(|row| {
            let mut block = String::new();
            for (column, Shown(text, color)) in self.columns.iter().zip(row).filter(|(_, value)| !value.0.is_empty()) {
                let cells = [(column.0, Some(BOLD), Fit::Whole), (text, color.map(code), Fit::Wrap)];
                self.row(cells.into_iter(), &widths, 1, &mut block);
            }
            block
        });
        let before = if self.begun { "\n" } else { "" };
        before.to_owned() + &blocks.collect::<Vec<_>>().join("\n")
    }

    fn piped_page(&mut self, rows: &[Vec<Shown>]) -> String {
        let mut text = String::new();
        if !self.begun {
            self.begun = true;
            let columns = self.columns.iter().enumerate();
            self.piped = columns.map(|(index, column)| widest(rows, index).max(column.0.len())).collect();
            self.line(self.columns.iter().map(|column| (column.0, Some(BOLD))), &self.piped, PIPED_GAP, &mut text);
        }
        for row in rows {
            let cells = row.iter().map(|Shown(text, color)| (text.as_str(), color.map(code)));
            self.line(cells, &self.piped, PIPED_GAP, &mut text);
        }
        text
    }

    /// A line of texts, each with the code of its colour.
    fn line<'c>(
        &self,
        cells: impl Iterator<Item = (&'c str, Option<&'static str>)>,
        widths: &[usize],
        gap: usize,
        line: &mut String,
    ) {
        // Blanks are written once a text follows them.
        let mut blanks = 0;
        for ((text, code), width) in cells.zip(widths) {
            if !text.is_empty() {
                line.extend(std::iter::repeat_n(' ', blanks));
                blanks = 0;
                match code.filter(|_| self.color) {
                    Some(code) => line.extend(["\x1b[", code, "m", text, "\x1b[0m"]),
                    None => line.push_str(text),
                }
            }
            blanks += width.saturating_sub(text.width()) + gap;
        }
        line.push('\n');
    }
}

fn widest(rows: &[Vec<Shown>], index: usize) -> usize {
    rows.iter().map(|row| row[index].0.width()).max().unwrap_or(0)
}

fn code(color: Color) -> &'static str {
    match color {
        Color::Red => "31",
        Color::Green => "32",
        Color::Yellow => "33",
        Color::Grey => "90",
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let options = Options::new(width).word_splitter(WordSplitter::NoHyphenation);
    wrap(text, options).into_iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column("ID", Fit::Whole),
        Column("WAITS ON/BY", Fit::Whole),
        Column("ASKED", Fit::Drop),
        Column("REASON", Fit::Shorten),
    ];

    fn drawn(columns: &'static [Column], rows: &[&[&str]], width: Option<usize>) -> String {
        let shown = |text: &&str| Shown::from((*text).to_owned());
        let rows: Vec<Vec<Shown>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
        TableWriter::new(columns, width, false).page(&rows)
    }

    #[test]
    fn a_table_in_a_pipe_is_as_wide_as_it_takes() {
        let long = "word ".repeat(100);
        let text = drawn(&COLUMNS, &[&["1", "alice", "1h ago", &long]], None);
        let row = format!("1   alice        1h ago  {long}");
        assert_eq!(text, format!("ID  WAITS ON/BY  ASKED   REASON\n{row}\n"));
    }

    #[test]
    fn headings_break_between_words_before_something_is_dropped() {
        const WIDE: [Column; 3] =
            [Column("RESOURCE", Fit::Whole), Column("WAITS ON/BY", Fit::Whole), Column("ASKED", Fit::Drop)];
        let resource = "x".repeat(45);
        let text = drawn(&WIDE, &[&[&resource, "bob", "1 hour"]], Some(60));
        assert_eq!(text, format!("{:45} WAITS ASKED\n{:45} ON/BY\n{resource} bob   1 hour\n", "RESOURCE", ""));
        let text = drawn(&WIDE, &[&[&"x".repeat(54), "bob", "1 hour"]], Some(60));
        assert!(text.starts_with("RESOURCE") && !text.contains("ASKED"), "{text}");
        let text = drawn(&WIDE, &[&[&"x".repeat(55), "bob", "1 hour"]], Some(60));
        assert!(text.starts_with("RESOURCE    xxx") && text.contains("ASKED       1 hour"), "{text}");
    }

    #[test]
    fn wide_characters_keep_the_columns_straight() {
        const TWO: [Column; 3] = [Column("A", Fit::Wrap), Column("B", Fit::Shorten), Column("C", Fit::Whole)];
        let rows: [&[&str]; 4] = [
            &["日本語のテキストはとても長いので折り返します", "データベースの障害対応をします", "end"],
            &["e\u{301}te\u{301}", "🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀🚀", "end"],
            &["plain", "plain", "end"],
            &["", "", "end"],
        ];
        for width in [60, 80, 200] {
            let text = drawn(&TWO, &rows, Some(width));
            let ends: Vec<usize> =
                text.lines().filter_map(|line| line.find("end").map(|place| line[..place].width())).collect();
            assert!(ends.len() == 4 && ends.iter().all(|end| *end == ends[0]), "{ends:?}\n{text}");
            assert!(text.lines().all(|line| line.width() <= width), "{text}");
        }
    }
}
