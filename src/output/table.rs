//! Tables for people, as wide as the terminal: the text that may be shortened is, and nothing else.

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, presets};

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

/// The columns that are drawn: all, or all but those that can be dropped.
fn drawn(columns: &[Column], rows: &[Vec<Shown>], width: usize, gap: usize) -> Vec<usize> {
    let wide = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.0.chars().count());
        cells.max().unwrap_or(0).max(columns[index].0.len()) + gap
    };
    let whole = (0..columns.len()).filter(|&index| matches!(columns[index].1, Fit::Whole | Fit::Drop));
    let taken: usize = whole.map(wide).sum();
    let shortened = columns.iter().filter(|column| column.1 == Fit::Shorten).count();
    let fits = taken + shortened * READABLE <= width;
    (0..columns.len()).filter(|&index| fits || columns[index].1 != Fit::Drop).collect()
}

/// Draws a page of a table: its lines, each ended.
pub fn draw(columns: &[Column], rows: Vec<Vec<Shown>>, heading: bool, width: u16, color: bool) -> String {
    let gap = if width < 100 { 1 } else { 2 };
    let shown = drawn(columns, &rows, width.into(), gap.into());
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    table.set_truncation_indicator("…");
    table.force_no_tty();
    if color {
        table.enforce_styling();
    }
    if heading {
        let heads = shown.iter().map(|&index| Cell::new(columns[index].0).add_attribute(Attribute::Bold));
        table.set_header(heads.collect::<Vec<_>>());
    }
    for row in rows {
        let kept = row.into_iter().enumerate().filter(|(index, _)| shown.contains(index));
        let cells = kept.map(|(_, Shown(text, color))| match color {
            Some(color) => Cell::new(text).fg(color),
            None => Cell::new(text),
        });
        let mut line = Row::from(cells.collect::<Vec<_>>());
        if !columns.iter().any(|column| column.1 == Fit::Wrap) {
            line.max_height(1);
        }
        table.add_row(line);
    }
    for (place, &index) in shown.iter().enumerate() {
        let column = &columns[index];
        if let Some(drawn) = table.column_mut(place) {
            drawn.set_padding((0, gap));
            match column.1 {
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
