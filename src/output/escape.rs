//! Text that came from people or files, made harmless for a terminal. Input refuses what could do harm already; this
//! holds for what came in another way, such as a message about a hostile file name.

use std::borrow::Cow;

use crate::domain::text::is_hostile;

/// For a line of a terminal: control and bidirectional characters are shown as `\u{1b}`.
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, false)
}

/// The same for several lines: line breaks stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    escape(text, true)
}

fn escape(text: &str, line_breaks: bool) -> Cow<'_, str> {
    let acts = |c: char| is_hostile(c) && !(line_breaks && c == '\n');
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| match c {
        '\n' if !line_breaks => " ".to_owned(),
        c if acts(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    Cow::Owned(text.chars().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_gets_through() {
        assert_eq!(line("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert_eq!(line("two\nlines"), "two lines");
        assert_eq!(lines("two\nlines\u{202e}"), "two\nlines\\u{202e}");
    }
}
