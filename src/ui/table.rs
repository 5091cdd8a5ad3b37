//! Tables for people. On a terminal, comfy-table fits each page into the width, and each row becomes a block of lines where
//! there is too little of it. In a pipe, each row is one line, and nothing is cut or wrapped.

use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Row, Table, Width, presets};
use unicode_width::UnicodeWidthStr;

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
        let mut table = self.empty(width);
        table.set_header(columns.iter().map(|&(index, _)| self.heading(index)).collect::<Vec<_>>());
        let shortens = self.columns.iter().any(|column| column.1 == Fit::Shorten);
        for row in rows {
            let mut row = Row::from(columns.iter().map(|&(index, _)| cell(&row[index])).collect::<Vec<_>>());
            if shortens {
                row.max_height(1);
            }
            table.add_row(row);
        }
        for (place, (drawn, &(index, least))) in table.column_iter_mut().zip(columns).enumerate() {
            let gap = if place + 1 < columns.len() { gap } else { 0 };
            drawn.set_padding((0, narrow(gap)));
            if self.columns[index].1 == Fit::Shorten {
                // Cut where the room ends, not behind the last word that fits: no text has this character.
                drawn.set_delimiter('\u{1f}');
            }
            let least = Width::Fixed(narrow(least + gap));
            drawn.set_constraint(match self.columns[index].1 {
                Fit::Whole | Fit::Drop => ColumnConstraint::Absolute(least),
                Fit::Shorten | Fit::Wrap => ColumnConstraint::LowerBoundary(least),
            });
        }
        text(&table)
    }

    /// A block of lines for each row, each with a heading and its value. Empty values are left out.
    fn blocks(&self, rows: &[Vec<Shown>], width: usize) -> String {
        let label = self.columns.iter().map(|column| column.0.len()).max().unwrap_or(0);
        let blocks = rows.iter().map(|row| {
            let mut block = self.empty(width);
            for (index, value) in row.iter().enumerate().filter(|(_, value)| !value.0.is_empty()) {
                block.add_row(vec![self.heading(index), cell(value)]);
            }
            if let Some(labels) = block.column_mut(0) {
                labels.set_padding((0, 1)).set_constraint(ColumnConstraint::Absolute(Width::Fixed(narrow(label + 1))));
            }
            if let Some(values) = block.column_mut(1) {
                values.set_padding((0, 0));
            }
            text(&block)
        });
        let before = if self.begun { "\n" } else { "" };
        before.to_owned() + &blocks.collect::<Vec<_>>().join("\n")
    }

    fn empty(&self, width: usize) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).force_no_tty().style_text_only();
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(narrow(width));
        if self.color {
            // `--color always` overrides NO_COLOR, which crossterm would heed.
            crossterm::style::force_color_output(true);
            table.enforce_styling();
        }
        table
    }

    fn heading(&self, index: usize) -> Cell {
        Cell::new(self.columns[index].0).add_attribute(Attribute::Bold)
    }

    /// Not by comfy-table, which takes ten times as long: a list in a pipe may have a hundred thousand rows.
    fn piped_page(&mut self, rows: &[Vec<Shown>]) -> String {
        let mut text = String::new();
        if !self.begun {
            self.begun = true;
            let columns = self.columns.iter().enumerate();
            self.piped = columns.map(|(index, column)| widest(rows, index).max(column.0.len())).collect();
            self.piped_line(self.columns.iter().map(|column| (column.0, Some("1"))), &mut text);
        }
        for row in rows {
            self.piped_line(row.iter().map(|Shown(text, color)| (text.as_str(), color.map(code))), &mut text);
        }
        text
    }

    /// A line of texts, each with the code of its colour.
    fn piped_line<'c>(&self, cells: impl Iterator<Item = (&'c str, Option<&'static str>)>, line: &mut String) {
        // Blanks are written once a text follows them.
        let mut blanks = 0;
        for ((text, code), width) in cells.zip(&self.piped) {
            if !text.is_empty() {
                line.extend(std::iter::repeat_n(' ', blanks));
                blanks = 0;
                match code.filter(|_| self.color) {
                    Some(code) => line.extend(["\x1b[", code, "m", text, "\x1b[0m"]),
                    None => line.push_str(text),
                }
            }
            blanks += width.saturating_sub(text.width()) + 2;
        }
        line.push('\n');
    }
}

fn widest(rows: &[Vec<Shown>], index: usize) -> usize {
    rows.iter().map(|row| row[index].0.width()).max().unwrap_or(0)
}

fn cell(Shown(text, color): &Shown) -> Cell {
    let cell = Cell::new(text);
    match color {
        Some(Color::Red) => cell.fg(comfy_table::Color::DarkRed),
        Some(Color::Green) => cell.fg(comfy_table::Color::DarkGreen),
        Some(Color::Yellow) => cell.fg(comfy_table::Color::DarkYellow),
        Some(Color::Grey) => cell.fg(comfy_table::Color::DarkGrey),
        None => cell,
    }
}

fn code(color: Color) -> &'static str {
    match color {
        Color::Red => "31",
        Color::Green => "32",
        Color::Yellow => "33",
        Color::Grey => "90",
    }
}

fn narrow(width: usize) -> u16 {
    u16::try_from(width).unwrap_or(u16::MAX)
}

/// The lines of a table, without the blanks at their ends.
fn text(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
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
