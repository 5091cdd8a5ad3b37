//! Tables for people. On a terminal a table is no wider than the terminal: its texts are shortened or wrapped, and where
//! there is too little room, each row becomes a block of lines. Elsewhere, such as in a pipe, nothing is cut or wrapped.

use unicode_width::UnicodeWidthChar;

use super::fold::{fold, wide};

/// One column: its heading, and what may be done to make it fit.
pub struct Column(pub &'static str, pub Fit);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Whole,
    /// Whole or, where there is no room for the rest, not at all.
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

impl Color {
    fn code(self) -> &'static str {
        match self {
            Color::Red => "\x1b[31m",
            Color::Green => "\x1b[32m",
            Color::Yellow => "\x1b[33m",
            Color::Grey => "\x1b[90m",
        }
    }
}

const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// A cell with the colour of what it says.
pub struct Shown(pub String, pub Option<Color>);

impl From<String> for Shown {
    fn from(text: String) -> Shown {
        Shown(text, None)
    }
}

/// On a narrower terminal every table is drawn as blocks.
pub const NARROW: usize = 60;
/// What is shortened is not shortened below this while something can be dropped.
const READABLE: usize = 12;
/// What is wrapped is not wrapped into less than this.
const WRAPPED: usize = 20;

/// A whole table as text.
pub fn table(columns: &'static [Column], rows: &[Vec<Shown>], width: Option<usize>, color: bool) -> String {
    Layout::of(columns, rows, width).first_page(rows, color)
}

/// How a table is drawn: settled by the rows of its first page, without measuring or holding what follows.
pub struct Layout {
    columns: &'static [Column],
    form: Form,
    /// The width of the terminal. None: as wide as it takes.
    width: Option<usize>,
}

enum Form {
    /// The columns that are drawn, and how wide.
    Rows {
        drawn: Vec<(usize, usize)>,
        gap: usize,
    },
    Blocks,
}

impl Layout {
    /// Settles how to draw by the rows of the first page.
    pub fn of(columns: &'static [Column], rows: &[Vec<Shown>], width: Option<usize>) -> Layout {
        let contents: Vec<usize> = (0..columns.len())
            .map(|index| rows.iter().filter_map(|row| row.get(index)).map(|cell| wide(&cell.0)).max().unwrap_or(0))
            .collect();
        let form = match width {
            None => {
                let natural = contents.iter().zip(columns).map(|(content, column)| (*content).max(column.0.len()));
                Form::Rows { drawn: natural.enumerate().collect(), gap: 2 }
            }
            Some(width) if width < NARROW => Form::Blocks,
            Some(width) => {
                let gap = if width < 100 { 1 } else { 2 };
                let fitted = TRIES.iter().find_map(|attempt| attempt.fit(columns, &contents, width, gap));
                fitted.map_or(Form::Blocks, |drawn| Form::Rows { drawn, gap })
            }
        };
        Layout { columns, form, width }
    }

    /// Draws the headings and the rows of the first page.
    pub fn first_page(&self, rows: &[Vec<Shown>], color: bool) -> String {
        let mut text = String::new();
        if let Form::Rows { drawn, gap } = &self.form {
            let heads = drawn.iter().map(|&(index, width)| Cell {
                lines: fold(self.columns[index].0, width),
                width,
                code: color.then_some(BOLD),
            });
            draw(&heads.collect::<Vec<_>>(), *gap, &mut text);
        }
        for (place, row) in rows.iter().enumerate() {
            self.draw_row(row, color, place == 0, &mut text);
        }
        text
    }

    /// Draws a row after the first page.
    pub fn row(&self, row: &[Shown], color: bool, out: &mut String) {
        self.draw_row(row, color, false, out);
    }

    fn draw_row(&self, row: &[Shown], color: bool, first: bool, out: &mut String) {
        let code = |cell: &Shown| cell.1.filter(|_| color).map(Color::code);
        match &self.form {
            Form::Rows { drawn, gap } if self.width.is_none() => {
                let cells = drawn.iter().map(|&(index, width)| (row[index].0.as_str(), width, code(&row[index])));
                draw_line(cells, *gap, out);
            }
            Form::Rows { drawn, gap } => {
                let cells = drawn.iter().map(|&(index, width)| {
                    let Shown(text, _) = &row[index];
                    let lines = match self.columns[index].1 {
                        Fit::Whole | Fit::Drop => vec![text.clone()],
                        Fit::Shorten => vec![cut(text, width)],
                        Fit::Wrap => fold(text, width),
                    };
                    Cell { lines, width, code: code(&row[index]) }
                });
                draw(&cells.collect::<Vec<_>>(), *gap, out);
            }
            Form::Blocks => {
                if !first {
                    out.push('\n');
                }
                let label = self.columns.iter().map(|column| column.0.len()).max().unwrap_or(0);
                let room = self.width.unwrap_or(usize::MAX).saturating_sub(label + 1).max(READABLE);
                for (column, cell) in self.columns.iter().zip(row).filter(|(_, cell)| !cell.0.is_empty()) {
                    let head = Cell { lines: vec![column.0.to_owned()], width: label, code: color.then_some(BOLD) };
                    let value = Cell { lines: fold(&cell.0, room), width: room, code: code(cell) };
                    draw(&[head, value], 1, out);
                }
            }
        }
    }
}

/// One way to fit a table into a width.
struct Attempt {
    /// Whether a heading of several words may take several lines.
    break_headings: bool,
    /// Whether columns that may be dropped are.
    drop: bool,
    /// How little of a text that is shortened is still of use.
    readable: usize,
}

/// The most legible first.
const TRIES: [Attempt; 4] = [
    Attempt { break_headings: false, drop: false, readable: READABLE },
    Attempt { break_headings: true, drop: false, readable: READABLE },
    Attempt { break_headings: true, drop: true, readable: READABLE },
    Attempt { break_headings: true, drop: true, readable: 0 },
];

impl Attempt {
    /// The columns to draw and their widths, if they fit. A heading's word is never broken.
    fn fit(&self, columns: &[Column], contents: &[usize], width: usize, gap: usize) -> Option<Vec<(usize, usize)>> {
        let indexes: Vec<usize> =
            (0..columns.len()).filter(|&index| !self.drop || columns[index].1 != Fit::Drop).collect();
        let heading = |index: usize| {
            let words = columns[index].0.split(' ').map(str::len);
            if self.break_headings { words.max().unwrap_or(0) } else { columns[index].0.len() }
        };
        let least = |index: usize| match columns[index].1 {
            Fit::Whole | Fit::Drop => contents[index].max(heading(index)),
            Fit::Shorten => contents[index].min(self.readable).max(heading(index)),
            Fit::Wrap => contents[index].min(WRAPPED).max(heading(index)),
        };
        let gaps = gap * indexes.len().saturating_sub(1);
        let taken: usize = indexes.iter().map(|&index| least(index)).sum::<usize>() + gaps;
        let mut spare = width.checked_sub(taken)?;
        let widths = indexes.into_iter().map(|index| {
            let least = least(index);
            let more = contents[index].saturating_sub(least).min(spare);
            spare -= more;
            (index, least + more)
        });
        Some(widths.collect())
    }
}

/// What is drawn of a cell.
struct Cell {
    lines: Vec<String>,
    width: usize,
    code: Option<&'static str>,
}

/// Draws cells side by side, on as many lines as the tallest has.
fn draw(cells: &[Cell], gap: usize, out: &mut String) {
    let height = cells.iter().map(|cell| cell.lines.len()).max().unwrap_or(0);
    for line in 0..height {
        let cells = cells.iter().map(|cell| {
            let text = cell.lines.get(line).map_or("", String::as_str);
            (text, cell.width, cell.code)
        });
        draw_line(cells, gap, out);
    }
}

/// Draws one line of cells: each with its text, its width and its colour.
fn draw_line<'c>(cells: impl Iterator<Item = (&'c str, usize, Option<&'static str>)>, gap: usize, out: &mut String) {
    // Blanks are written once something follows them.
    let mut blanks = 0;
    for (text, width, code) in cells {
        if !text.is_empty() {
            out.extend(std::iter::repeat_n(' ', blanks));
            blanks = 0;
            match code {
                Some(code) => out.extend([code, text, PLAIN]),
                None => out.push_str(text),
            }
        }
        blanks += width.saturating_sub(wide(text)) + gap;
    }
    out.push('\n');
}

/// The text, cut where the room ends.
fn cut(text: &str, room: usize) -> String {
    if wide(text) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut width = 0;
    for c in text.chars() {
        width += c.width().unwrap_or(0);
        if width + 1 > room {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
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
        Layout::of(columns, &rows, width).first_page(&rows, false)
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
                text.lines().filter_map(|line| line.find("end").map(|place| wide(&line[..place]))).collect();
            assert!(ends.len() == 4 && ends.iter().all(|end| *end == ends[0]), "{ends:?}\n{text}");
            assert!(text.lines().all(|line| wide(line) <= width), "{text}");
        }
    }

    #[test]
    fn a_cut_text_keeps_what_belongs_to_its_last_character() {
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}e\u{301}", 3), "e\u{301}e\u{301}…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("日本語", 6), "日本語");
    }
}
