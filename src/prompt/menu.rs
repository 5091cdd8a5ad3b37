//! A list to choose one item from.

use unicode_width::UnicodeWidthStr;

use super::screen::{KeyPress, Screen, cut};
use crate::error::Failure;

pub struct Item {
    pub label: String,
    /// A remark beside the label.
    pub note: String,
}

impl Item {
    pub fn new(label: impl Into<String>) -> Item {
        Item { label: label.into(), note: String::new() }
    }

    pub fn with(label: impl Into<String>, note: impl Into<String>) -> Item {
        Item { label: label.into(), note: note.into() }
    }
}

/// What typed characters do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Typing {
    /// Nothing: in a list of actions, a stray key must not trigger one.
    Ignored,
    /// They search the labels.
    Searches,
    /// They begin an answer that is not on the list.
    Answers,
}

pub struct Menu<'m> {
    pub question: &'m str,
    pub items: &'m [Item],
    /// The item that is selected first.
    pub at: usize,
    pub typing: Typing,
    /// Whether the choice stays on the screen.
    pub report: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Picked {
    Item(usize),
    /// The beginning of an answer that is not on the list.
    Typed(String),
}

/// At most this many items are shown at once.
const PAGE: usize = 10;

impl Menu<'_> {
    /// None if the user presses Esc.
    pub fn ask(&self, color: bool) -> Result<Option<Picked>, Failure> {
        // Keys that were pressed before the list was shown may search, but must not choose.
        let mut screen = Screen::open(color, self.typing != Typing::Searches)?;
        let mut search = String::new();
        let mut found: Vec<usize> = (0..self.items.len()).collect();
        let mut at = self.at.min(found.len().saturating_sub(1));
        loop {
            self.draw(&mut screen, &search, &found, at)?;
            let last = found.len().saturating_sub(1);
            let page = PAGE.min(screen.rows() - 3);
            match screen.key()? {
                KeyPress::Enter => {
                    if let Some(&index) = found.get(at) {
                        let mark = screen.paint("32", "✔");
                        let words = format!("{} · {}", self.question, self.items[index].label);
                        let answer = format!("{mark} {}", cut(&words, screen.columns() - 2));
                        screen.close(if self.report { std::slice::from_ref(&answer) } else { &[] })?;
                        return Ok(Some(Picked::Item(index)));
                    }
                }
                KeyPress::Escape => {
                    screen.close(&[])?;
                    return Ok(None);
                }
                KeyPress::Up | KeyPress::BackTab => at = if at == 0 { last } else { at - 1 },
                KeyPress::Down | KeyPress::Tab => at = if at == last { 0 } else { at + 1 },
                KeyPress::PageUp => at = at.saturating_sub(page),
                KeyPress::PageDown => at = (at + page).min(last),
                KeyPress::Home => at = 0,
                KeyPress::End => at = last,
                key => match (self.typing, key) {
                    (Typing::Answers, KeyPress::Char(c)) => {
                        screen.close(&[])?;
                        return Ok(Some(Picked::Typed(c.to_string())));
                    }
                    (Typing::Answers, KeyPress::Pasted(text)) => {
                        screen.close(&[])?;
                        return Ok(Some(Picked::Typed(text.replace(char::is_control, ""))));
                    }
                    (Typing::Searches, key) if edit(&mut search, &key) => {
                        found = matching(self.items, &search);
                        at = 0;
                    }
                    _ => {}
                },
            }
        }
    }

    fn draw(&self, screen: &mut Screen, search: &str, found: &[usize], at: usize) -> Result<(), Failure> {
        let columns = screen.columns();
        let page = PAGE.min(screen.rows() - 3);
        let mut head = cut(self.question, columns - 4);
        let mut typed = String::new();
        if self.typing == Typing::Searches {
            typed = format!(" › {}", end_of(search, columns.saturating_sub(head.width() + 6)));
        }
        let column = 2 + head.width() + typed.width();
        head = format!("{} {}{typed}", screen.paint("33", "?"), screen.paint("1", &head));
        let mut lines = vec![head];

        let wide = self.items.iter().map(|item| item.label.width()).max().unwrap_or(0).min(columns - 2);
        let from = if at < page { 0 } else { at + 1 - page };
        for (place, &index) in found.iter().enumerate().skip(from).take(page) {
            let Item { label, note } = &self.items[index];
            let label = cut(label, columns - 2);
            let room = (columns - 2).saturating_sub(wide + 2);
            let note = if note.is_empty() || room < 8 {
                String::new()
            } else {
                let gap = " ".repeat(2 + wide.saturating_sub(label.width()));
                format!("{gap}{}", screen.paint("2", &cut(note, room)))
            };
            lines.push(match place == at {
                true => format!("{} {}{note}", screen.paint("36", "❯"), screen.paint("36", &label)),
                false => format!("  {label}{note}"),
            });
        }
        let more = found.len().saturating_sub(page);
        let mut keys = match self.typing {
            Typing::Ignored => "↑ ↓ move, Enter chooses, Esc leaves".to_owned(),
            Typing::Searches if found.is_empty() => "no match; Backspace deletes".to_owned(),
            Typing::Searches => "type to search, ↑ ↓ move, Enter chooses, Esc leaves".to_owned(),
            Typing::Answers => "↑ ↓ move, Enter chooses, or type your own; Esc leaves".to_owned(),
        };
        if more > 0 {
            keys = format!("{} of {}; {keys}", at + 1, found.len());
        }
        lines.push(format!("  {}", screen.paint("2", &cut(&keys, columns - 2))));
        screen.draw(&lines, (self.typing == Typing::Searches).then_some((0, column)))
    }
}

/// Applies the key to the search. False if it does not edit.
fn edit(search: &mut String, key: &KeyPress) -> bool {
    match key {
        KeyPress::Char(c) => search.push(*c),
        KeyPress::Pasted(text) => search.push_str(text.replace(char::is_control, "").trim()),
        KeyPress::Backspace => drop(search.pop()),
        KeyPress::EraseWord | KeyPress::EraseLine => search.clear(),
        _ => return false,
    }
    true
}

/// The end of a text, at most this many columns of it.
fn end_of(text: &str, columns: usize) -> String {
    let mut from = 0;
    while text[from..].width() > columns {
        from += text[from..].chars().next().map_or(1, char::len_utf8);
    }
    text[from..].to_owned()
}

/// The items whose labels have these letters in this order. An exact name comes first, then labels that begin with the
/// search, then those that contain it, then all others.
fn matching(items: &[Item], search: &str) -> Vec<usize> {
    let search = search.to_lowercase();
    let rank = |label: &str| {
        let label = label.to_lowercase();
        let name = label.split_once(':').map_or(label.as_str(), |(_, name)| name);
        let mut letters = label.chars();
        let scattered = search.chars().all(|wanted| letters.any(|letter| letter == wanted));
        match () {
            () if label == search || name == search => Some(0),
            () if label.starts_with(&search) || name.starts_with(&search) => Some(1),
            () if label.contains(&search) => Some(2),
            () if scattered => Some(3),
            () => None,
        }
    };
    let mut found: Vec<(u8, usize)> =
        items.iter().enumerate().filter_map(|(index, item)| Some((rank(&item.label)?, index))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_match_comes_first() {
        let items =
            ["target:orders-db-staging", "target:orders-db", "scope:orders", "target:billing-db"].map(Item::new);
        let found = |search: &str| -> Vec<&str> {
            matching(&items, search).into_iter().map(|index| items[index].label.as_str()).collect()
        };
        assert_eq!(found("orders-db"), ["target:orders-db", "target:orders-db-staging"]);
        assert_eq!(found("ORDERS"), ["scope:orders", "target:orders-db-staging", "target:orders-db"]);
        assert_eq!(found("tgtbill"), ["target:billing-db"]);
        assert_eq!(found("db").len(), 3);
        assert_eq!(found("").len(), 4);
        assert!(found("xyz").is_empty());
    }

    #[test]
    fn a_long_search_shows_its_end() {
        assert_eq!(end_of("abcdef", 3), "def");
        assert_eq!(end_of("日本語", 5), "本語");
        assert_eq!(end_of("日本語", 0), "");
    }
}
