//! Tables for people, as wide as the terminal: the text that may be shortened is, and nothing else.

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, presets};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

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

/// A cell with the colour of what it says.
pub struct Shown(pub String, pub Option<Color>);

impl From<String> for Shown {
    fn from(text: String) -> Shown {
        Shown(text, None)
    }
}

/// What is shortened is not shortened below this while something can be dropped.
const READABLE: usize = 12;

/// How a table goes on after its first page: by the widths of that page, without measuring or holding what follows.
pub struct Layout {
    /// The columns that are drawn, and how wide. The last has no width to keep.
    columns: Vec<(usize, usize)>,
    gap: usize,
    width: usize,
    /// Whether the last is cut at the width; else the terminal wraps it.
    cut: bool,
}

impl Layout {
    /// Settles the widths by the rows of the first page.
    pub fn of(columns: &[Column], rows: &[Vec<Shown>], width: u16) -> Layout {
        let gap = if width < 100 { 1 } else { 2 };
        let width = usize::from(width);
        let wide = |index: usize| {
            let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.0.width());
            cells.max().unwrap_or(0).max(columns[index].0.len())
        };
        let wides: Vec<usize> = (0..columns.len()).map(wide).collect();
        let kept_whole = |index: &usize| matches!(columns[*index].1, Fit::Whole | Fit::Drop);
        let taken: usize = (0..columns.len()).filter(kept_whole).map(|index| wides[index] + gap).sum();
        let shortened = columns.iter().filter(|column| column.1 == Fit::Shorten).count();
        let fits = taken + shortened * READABLE <= width;
        let drawn = (0..columns.len()).filter(|&index| fits || columns[index].1 != Fit::Drop);
        let cut = !columns.iter().any(|column| column.1 == Fit::Wrap);
        Layout { columns: drawn.map(|index| (index, wides[index])).collect(), gap, width, cut }
    }

    /// Draws a row on one line, after the first page.
    pub fn row(&self, row: &[Shown], color: bool, out: &mut String) {
        let start = out.len();
        let mut used = 0;
        for (place, &(index, wide)) in self.columns.iter().enumerate() {
            let Shown(text, paint) = &row[index];
            let last = place + 1 == self.columns.len();
            let room = if last && self.cut { self.width.saturating_sub(used) } else { usize::MAX };
            let code = paint.filter(|_| color).and_then(ansi);
            if let Some(code) = code {
                out.push_str(code);
            }
            let drawn = push_within(out, text, room);
            if code.is_some() {
                out.push_str("\x1b[39m");
            }
            used += drawn;
            if !last {
                let padding = wide.saturating_sub(drawn) + self.gap;
                out.extend(std::iter::repeat_n(' ', padding));
                used += padding;
            }
        }
        let kept = out[start..].trim_end().len();
        out.truncate(start + kept);
        out.push('\n');
    }
}

/// Appends the text, cut where the room ends. Gives how wide that is.
fn push_within(out: &mut String, text: &str, room: usize) -> usize {
    let wide = if text.is_ascii() { text.len() } else { text.width() };
    if wide <= room {
        out.push_str(text);
        return wide;
    }
    let mut drawn = 0;
    for c in text.chars() {
        let more = c.width().unwrap_or(0);
        if drawn + more + 1 > room {
            break;
        }
        out.push(c);
        drawn += more;
    }
    out.push('…');
    drawn + 1
}

fn ansi(color: Color) -> Option<&'static str> {
    match color {
        Color::Red => Some("\x1b[31m"),
        Color::Green => Some("\x1b[32m"),
        Color::Yellow => Some("\x1b[33m"),
        Color::DarkGrey => Some("\x1b[90m"),
        _ => None,
    }
}

/// Draws the first page of a table, its heading included: its lines, each ended.
pub fn first_page(columns: &[Column], layout: &Layout, rows: Vec<Vec<Shown>>, color: bool) -> String {
    let shown: Vec<usize> = layout.columns.iter().map(|&(index, _)| index).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(layout.width).unwrap_or(u16::MAX));
    table.set_truncation_indicator("…");
    table.force_no_tty();
    if color {
        table.enforce_styling();
    }
    let heads = shown.iter().map(|&index| Cell::new(columns[index].0).add_attribute(Attribute::Bold));
    table.set_header(heads.collect::<Vec<_>>());
    for row in rows {
        let kept = row.into_iter().enumerate().filter(|(index, _)| shown.contains(index));
        let cells = kept.map(|(_, Shown(text, color))| match color {
            Some(color) => Cell::new(text).fg(color),
            None => Cell::new(text),
        });
        let mut line = Row::from(cells.collect::<Vec<_>>());
        if layout.cut {
            line.max_height(1);
        }
        table.add_row(line);
    }
    for (place, &index) in shown.iter().enumerate() {
        if let Some(drawn) = table.column_mut(place) {
            drawn.set_padding((0, u16::try_from(layout.gap).unwrap_or(1)));
            match columns[index].1 {
                Fit::Whole | Fit::Drop => {
                    drawn.set_constraint(ColumnConstraint::ContentWidth);
                }
                // Cut where the room ends, not at the word before.
                Fit::Shorten => {
                    drawn.set_delimiter('\u{1f}');
                }
                Fit::Wrap => {}
            }
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text += line.trim_end();
        text.push('\n');
    }
    text
}
