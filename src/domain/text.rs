//! Text that people wrote. It is checked on input, so that it can't control a terminal, a log reader or a mail header.
//! (It is also escaped on output: see `ui/escape.rs`.)

use std::borrow::Cow;
use std::fmt::Display;
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

/// Whether this character shows nothing of itself: two texts that differ in it look the same. It is Unicode's property
/// Default_Ignorable_Code_Point, and what is drawn as a blank without being a space.
///
/// Some of them belong into texts: emoji and several scripts are joined and varied by them.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether this character is shown by its number wherever people read.
pub fn acts_or_hides(c: char) -> bool {
    is_hostile(c) || is_invisible(c)
}

/// The text with all that acts or hides shown by its number, such as `\u{200b}`. Line breaks stay, or become spaces.
pub fn visible(text: &str, line_breaks: bool) -> Cow<'_, str> {
    let acts = |c: char| acts_or_hides(c) && !(line_breaks && c == '\n');
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

/// The text, with its later lines indented: none that somebody wrote looks like one of the program's.
pub fn indented(text: &str, columns: usize) -> String {
    text.replace('\n', &format!("\n{:columns$}", ""))
}

/// A message repeats at most this many digits of a number that is too large.
pub const LONGEST_REPEATED: usize = 40;

/// The text, or its two ends where it has more characters than this: for messages that repeat what somebody gave.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    let place = |skipped: usize| text.char_indices().nth(skipped).map(|(place, _)| place);
    if text.len() <= most || place(most).is_none() {
        return Cow::Borrowed(text);
    }
    let half = most / 2;
    let start = place(half).unwrap_or(text.len());
    let end = text.char_indices().nth_back(half.saturating_sub(2)).map_or(text.len(), |(place, _)| place);
    Cow::Owned(format!("{}…{}", &text[..start], &text[end..]))
}

/// Refuses what makes two names look the same: characters that can't be seen, and spaces that are none.
/// Not a part of reading a name, since an old log may hold such names and must stay readable.
pub fn check_distinct(name: &str) -> Result<(), Malformed> {
    let hidden = |c: &char| is_invisible(*c) || (c.is_whitespace() && *c != ' ');
    match name.chars().find(hidden) {
        Some(c) => Err(Malformed::new(format!("it has a character that can't be seen (U+{:04X})", u32::from(c)))),
        None => Ok(()),
    }
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

/// `1 fault`, `2 faults`.
pub fn quantity<N: Copy + Display + TryInto<u64>>(count: N, one: &str, many: &str) -> String {
    let noun = if matches!(count.try_into(), Ok(1)) { one } else { many };
    format!("{count} {noun}")
}

/// `alice, bob`.
pub fn joined<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// The text, cut off after so many characters.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The candidate most like the word, if any is like it at all.
pub fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str> + Clone) -> Option<String> {
    let alike = candidates.clone().map(|candidate| (strsim::jaro_winkler(word, candidate), candidate));
    let (likeness, best) = alike.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    if likeness > 0.7 {
        return Some(best.to_owned());
    }
    // One typo changes much of a short name: `bbo` and `bob` are not that much alike.
    let mut near = candidates.filter(|candidate| is_one_typo_from(word, candidate));
    near.next().map(str::to_owned)
}

/// Whether one letter is missing, added or replaced, or two neighbours are swapped. Among names of fewer than three
/// letters, almost all are.
fn is_one_typo_from(word: &str, candidate: &str) -> bool {
    candidate.chars().count() >= 3
        && word.len().abs_diff(candidate.len()) <= char::MAX.len_utf8()
        && strsim::osa_distance(word, candidate) <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        let text = |count: usize| quantity(count, "entry", "entries");
        assert_eq!([0, 1, 2, 11].map(text), ["0 entries", "1 entry", "2 entries", "11 entries"]);
        assert_eq!(quantity(1_i64, "more change", "more changes"), "1 more change");
    }

    #[test]
    fn a_short_name_with_one_typo_is_near() {
        let near = |word: &str, names: &[&str]| nearest(word, names.iter().copied());
        for typo in ["bbo", "obb", "rob", "ob"] {
            assert_eq!(near(typo, &["alice", "bob"]).as_deref(), Some("bob"), "{typo}");
        }
        assert_eq!(near("éva", &["alice", "eva"]).as_deref(), Some("eva"));
        assert_eq!(near("obo", &["alice", "bob"]), None);
        assert_eq!(near("xy", &["ay"]), None, "a name of two letters is near to every other");
        assert_eq!(near("bbo", &["bob", "bbona"]).as_deref(), Some("bbona"), "the first measure goes first");
    }

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
    fn what_cannot_be_seen_is_no_part_of_a_name_and_is_shown_in_a_text() {
        let hidden = "\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{ad}\u{34f}\u{115f}\u{1160}\u{3164}\u{ffa0}\u{fe0f}\u{e0100}\u{e0041}\u{180e}\u{2800}\u{fffa}";
        for c in hidden.chars() {
            let text = format!("a{c}b");
            assert!(check_distinct(&text).is_err(), "{text:?}");
            assert_eq!(visible(&text, true), format!("a\\u{{{:x}}}b", u32::from(c)));
            assert!(text.parse::<Text>().is_ok(), "{text:?}");
            assert!(text.parse::<Ticket>().is_ok(), "a log that has it stays readable");
        }
        assert!(check_distinct("two\u{a0}words").is_err() && check_distinct("two\u{2003}words").is_err());
        for name in ["two for production", "zwölf", "名前", "שלום", "emoji 🚀"] {
            assert!(check_distinct(name).is_ok(), "{name}");
        }
        assert_eq!(visible("two\nlines", true), "two\nlines");
        assert_eq!(visible("two\nlines\u{202e}", false), "two lines\\u{202e}");
    }

    #[test]
    fn a_long_text_keeps_its_two_ends() {
        assert_eq!(shortened("0123456789", 10), "0123456789");
        assert_eq!(shortened("0123456789a", 10), "01234…789a");
        assert_eq!(shortened(&"é".repeat(11), 10), "ééééé…éééé");
        assert_eq!(shortened(&"é".repeat(10), 10), "é".repeat(10));
    }

    #[test]
    fn a_ticket_is_one_line() {
        assert!("OPS-12".parse::<Ticket>().is_ok());
        assert!("OPS-12\nBcc: x".parse::<Ticket>().is_err());
    }
}
