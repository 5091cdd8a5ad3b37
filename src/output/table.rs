//! Tables for people, as wide as the terminal: the text that may be shortened is, and nothing else.

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, presets};

/// One column: its heading, and what may be done to make it fit.
pub struct Column(pub &'static str, pub Fit);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Whole,
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

/// Draws a page of a table: its lines, each ended.
pub fn draw(columns: &[Column], rows: Vec<Vec<Shown>>, heading: bool, width: u16, color: bool) -> String {
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
        let heads = columns.iter().map(|column| Cell::new(column.0).add_attribute(Attribute::Bold));
        table.set_header(heads.collect::<Vec<_>>());
    }
    for row in rows {
        let cells = row.into_iter().map(|Shown(text, color)| match color {
            Some(color) => Cell::new(text).fg(color),
            None => Cell::new(text),
        });
        let mut line = Row::from(cells.collect::<Vec<_>>());
        if !columns.iter().any(|column| column.1 == Fit::Wrap) {
            line.max_height(1);
        }
        table.add_row(line);
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(drawn) = table.column_mut(index) {
            drawn.set_padding((0, if width < 100 { 1 } else { 2 }));
            match column.1 {
                Fit::Whole => {
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
