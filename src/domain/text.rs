//! Text that people wrote: checked when it comes in, so that nothing it holds can act on a terminal,
//! a log reader or a mail header. (What goes out is escaped all the same: see `output`.)

use std::str::FromStr;

use super::{Malformed, checked_string};

/// A reason or a note: 1 to 4096 bytes, not all blank. Line breaks are allowed, other control characters are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(String);

checked_string!(Text);

/// A reference to a ticket elsewhere: one line of 1 to 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket(String);

checked_string!(Ticket);

/// Whether this character could reorder, hide or forge what a reader sees.
///
/// The bidirectional controls are those of Unicode's UAX #9 ("Trojan Source", CVE-2021-42574);
/// U+2028 and U+2029 break lines where a reader does not expect it.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{2028}' | '\u{2029}')
}

fn check(text: &str, longest: usize, line_breaks: bool) -> Result<(), Malformed> {
    if text.trim().is_empty() {
        return Err(Malformed::new("it is blank"));
    }
    if text.len() > longest {
        return Err(Malformed::new(format!("it has {} bytes, and at most {longest} are allowed", text.len())));
    }
    let plain = |b: u8| (b' '..=b'~').contains(&b) || (line_breaks && b == b'\n');
    if text.bytes().all(plain) {
        return Ok(());
    }
    match text.chars().find(|&c| is_hostile(c) && !(line_breaks && c == '\n')) {
        Some('\n') => Err(Malformed::new("it has more than one line")),
        Some(c) => Err(Malformed::new(format!("it has a character that is not allowed (U+{:04X})", u32::from(c)))),
        None => Ok(()),
    }
}

impl FromStr for Text {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Text, Malformed> {
        check(text, 4096, true)?;
        Ok(Text(text.to_owned()))
    }
}

impl FromStr for Ticket {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Ticket, Malformed> {
        check(text, 128, false)?;
        Ok(Ticket(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reason_may_be() {
        assert!("Deploy\nand watch".parse::<Text>().is_ok());
        assert!("é".repeat(2048).parse::<Text>().is_ok());
        for text in
            ["", " \n ", "\u{1b}[31mred", "a\tb", "a\r\nb", "a\u{202e}b", "a\u{0085}b", "a\u{2028}b", &"é".repeat(2049)]
        {
            assert!(text.parse::<Text>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_ticket_is_one_line() {
        assert!("OPS-12".parse::<Ticket>().is_ok());
        assert!("OPS-12\nBcc: x".parse::<Ticket>().is_err());
    }
}
