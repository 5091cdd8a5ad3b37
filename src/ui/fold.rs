//! Records and lines for people: broken between words on a terminal, whole in a pipe.

use textwrap::core::display_width;
use textwrap::{Options, WordSplitter, wrap};

/// A text in the making, for a terminal of a given width or for a pipe.
pub struct Sheet {
    text: String,
    width: Option<usize>,
}

/// The column in which the values of a record begin.
const VALUES: usize = 15;
/// The least room for a value, however narrow the terminal is.
const LEAST: usize = 16;

impl Sheet {
    pub fn new(width: Option<usize>) -> Sheet {
        Sheet { text: String::new(), width }
    }

    /// A line. It continues below, indented.
    pub fn line(&mut self, text: &str) {
        self.item("", 2, text);
    }

    /// A field of a record: its label and its value.
    pub fn field(&mut self, label: &str, value: &str) {
        self.item(&format!("  {label:<12} "), VALUES, value);
    }

    /// A text that follows a lead. It continues below, in this column or where the lead ends.
    pub fn item(&mut self, lead: &str, column: usize, text: &str) {
        let column = column.max(display_width(lead));
        let margin = " ".repeat(column);
        let mut before = lead;
        for part in text.split('\n') {
            let lines = match self.width {
                Some(width) => {
                    let options = Options::new(width.max(column + LEAST)).word_splitter(WordSplitter::NoHyphenation);
                    wrap(part, options.initial_indent(before).subsequent_indent(&margin))
                }
                None => vec![format!("{before}{part}").into()],
            };
            for line in lines {
                self.text += line.trim_end_matches(' ');
                self.text.push('\n');
            }
            before = &margin;
        }
    }

    pub fn blank(&mut self) {
        self.text.push('\n');
    }

    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub fn width(&self) -> Option<usize> {
        self.width
    }

    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        let drawn = |text: &str, width: usize| {
            let mut sheet = Sheet::new(Some(width));
            sheet.item("", 0, text);
            sheet.into_text()
        };
        assert_eq!(drawn("one two three four", 16), "one two three\nfour\n");
        assert_eq!(drawn("two\nlines", 80), "two\nlines\n");
        assert_eq!(drawn("a  b", 80), "a  b\n");
        assert_eq!(drawn("target:orders-db-staging x", 20), "target:orders-db-sta\nging x\n");
        assert_eq!(drawn("日本語日本語日本語", 17), "日本語日本語日本\n語\n");
        assert_eq!(drawn(&"e\u{301}".repeat(17), 16), format!("{}\ne\u{301}\n", "e\u{301}".repeat(16)));
    }

    #[test]
    fn a_record_is_whole_in_a_pipe_and_folded_on_a_terminal() {
        let value = "word ".repeat(12);
        let mut sheet = Sheet::new(None);
        sheet.field("reason", value.trim_end());
        assert_eq!(sheet.into_text(), format!("  reason       {}\n", value.trim_end()));
        let mut sheet = Sheet::new(Some(40));
        sheet.field("reason", "one two three four five six\nseven");
        assert_eq!(
            sheet.into_text(),
            "  reason       one two three four five\n               six\n               seven\n"
        );
        let mut sheet = Sheet::new(Some(40));
        sheet.line("Request 12: target:orders-db for 1h, waiting on alice");
        assert_eq!(sheet.into_text(), "Request 12: target:orders-db for 1h,\n  waiting on alice\n");
    }
}
