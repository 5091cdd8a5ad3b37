//! Text for a terminal of a given width: lines that break between words.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How many columns the text takes.
pub fn wide(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// Breaks a text into lines no wider than this, between words where that can be. A longer word is broken where it must.
pub fn fold(text: &str, width: usize) -> Vec<String> {
    text.split('\n').flat_map(|line| fold_line(line, width, width)).collect()
}

/// The same for one line, of which the first part may have another width than the rest.
fn fold_line(text: &str, first: usize, rest: usize) -> Vec<String> {
    if wide(text) <= first {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    let mut column = 0;
    let room = |lines: &[String]| if lines.len() == 1 { first } else { rest };
    for (place, word) in text.split(' ').enumerate() {
        let space = usize::from(place > 0);
        if column > 0 && column + space + wide(word) > room(&lines) {
            lines.push(String::new());
            column = 0;
        } else if space > 0 {
            column += 1;
            push(&mut lines, " ");
        }
        if wide(word) <= room(&lines) {
            column += wide(word);
            push(&mut lines, word);
            continue;
        }
        for c in word.chars() {
            let more = c.width().unwrap_or(0);
            if column > 0 && column + more > room(&lines) {
                lines.push(String::new());
                column = 0;
            }
            column += more;
            push(&mut lines, c.encode_utf8(&mut [0; 4]));
        }
    }
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}

fn push(lines: &mut [String], text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(text);
    }
}

/// Lines for a terminal, or for a pipe, in which none is broken.
pub struct Sheet {
    text: String,
    width: Option<usize>,
}

/// How far the values of a record are from its left.
const LABELS: usize = 15;
/// However narrow the terminal is, a value has this much.
const LEAST: usize = 16;

impl Sheet {
    pub fn new(width: Option<usize>) -> Sheet {
        Sheet { text: String::new(), width }
    }

    /// A line. What does not fit goes on below, a little further in.
    pub fn line(&mut self, text: &str) {
        self.item("", 2, text);
    }

    /// A field of a record: its label, and its value on one or more lines.
    pub fn field(&mut self, label: &str, value: &str) {
        self.item(&format!("  {label:<12} "), LABELS, value);
    }

    /// What follows a lead. It goes on below at this distance from the left.
    pub fn item(&mut self, lead: &str, indent: usize, text: &str) {
        self.item_after(lead, wide(lead), indent, text);
    }

    /// The same after a lead whose width is not that of its characters, because it has colours.
    pub fn item_after(&mut self, lead: &str, lead_wide: usize, indent: usize, text: &str) {
        let further = indent.max(lead_wide);
        let mut before = lead_wide;
        let mut margin = lead.to_owned();
        for part in text.split('\n') {
            let lines = match self.width {
                Some(width) => {
                    let room = |taken: usize| width.saturating_sub(taken).max(LEAST);
                    fold_line(part, room(before), room(further))
                }
                None => vec![part.to_owned()],
            };
            for line in lines {
                self.text += &margin;
                self.text += &line;
                self.text.truncate(self.text.trim_end_matches(' ').len());
                self.text.push('\n');
                margin = " ".repeat(further);
            }
            before = further;
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
        assert_eq!(fold("one two three", 9), ["one two", "three"]);
        assert_eq!(fold("one two three", 13), ["one two three"]);
        assert_eq!(fold("two\nlines", 80), ["two", "lines"]);
        assert_eq!(fold("", 5), [""]);
        assert_eq!(fold("a  b", 80), ["a  b"]);
        assert_eq!(fold("https://example.com/x and", 10), ["https://ex", "ample.com/", "x and"]);
        assert_eq!(fold("日本語 日本語", 7), ["日本語", "日本語"]);
        assert_eq!(fold("日本語日本語", 5), ["日本", "語日", "本語"]);
        assert_eq!(fold("e\u{301}e\u{301}e\u{301}", 2), ["e\u{301}e\u{301}", "e\u{301}"]);
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
