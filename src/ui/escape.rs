//! Makes text from users and files harmless for a terminal. Input already refuses harmful text; this covers everything
//! else, such as a message about a hostile file name.

use std::borrow::Cow;

use crate::domain::text::{acts_or_hides, shortened, visible};

/// For one line: characters that act on a terminal or are invisible are shown as `\u{1b}`.
pub fn line(text: &str) -> Cow<'_, str> {
    visible(text, false)
}

/// The same for several lines: line breaks are kept.
pub fn lines(text: &str) -> Cow<'_, str> {
    visible(text, true)
}

/// For messages: long lines are shortened.
pub fn bounded(text: &str) -> String {
    const LONGEST: usize = 1000;
    text.split('\n').map(|line| shortened(line, LONGEST)).collect::<Vec<_>>().join("\n")
}

/// For JSON, where such characters occur in strings only, and an escape means the same text.
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
    fn nothing_that_acts_on_a_terminal_gets_through() {
        assert_eq!(line("a\u{1b}[31mb"), "a\\u{1b}[31mb");
        assert_eq!(line("two\nlines"), "two lines");
        assert_eq!(lines("two\nlines\u{202e}"), "two\nlines\\u{202e}");
    }
}
