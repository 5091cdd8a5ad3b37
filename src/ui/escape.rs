//! Text that came from people or files, made harmless for a terminal. Input refuses what could do harm already; this
//! holds for what came in another way, such as a message about a hostile file name.

use std::borrow::Cow;

use crate::domain::text::{acts_or_hides, shortened, visible};

/// For a line of a terminal: characters that act on it or can't be seen are shown as `\u{1b}`.
pub fn line(text: &str) -> Cow<'_, str> {
    visible(text, false)
}

/// The same for several lines: line breaks stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    visible(text, true)
}

/// For messages: no line is longer than a screen or so.
pub fn bounded(text: &str) -> String {
    const LONGEST: usize = 1000;
    text.split('\n').map(|line| shortened(line, LONGEST)).collect::<Vec<_>>().join("\n")
}

/// For JSON: such characters stand only in its strings, which have an escape for them. It means the same text.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_or_hides) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if acts_or_hides(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped += &format!("\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
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
