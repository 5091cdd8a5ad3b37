//! A line of text that somebody writes. It may be longer than the terminal is wide, and its characters may be wide.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::screen::{Key, Screen, cut, folded, wrapped};
use crate::error::Failure;

/// A question that is answered in words.
pub struct Line<'l> {
    pub question: &'l str,
    /// What the answer has to be like.
    pub hint: &'l str,
    /// What is there to begin with.
    pub initial: &'l str,
    /// Why an answer can't be taken.
    pub check: &'l dyn Fn(&str) -> Result<(), String>,
}

/// A text, and the place in it where characters are added.
#[derive(Default)]
struct Edited {
    text: String,
    at: usize,
}

impl Line<'_> {
    /// None: the person leaves.
    pub fn ask(&self, color: bool) -> Result<Option<String>, Failure> {
        let mut screen = Screen::open(color, false)?;
        let mut edited = Edited { text: self.initial.to_owned(), at: self.initial.len() };
        let mut wrong = None;
        loop {
            self.draw(&mut screen, &edited, wrong.as_deref())?;
            wrong = None;
            match screen.key()? {
                Key::Enter => match (self.check)(&edited.text) {
                    Ok(()) => {
                        let said = if edited.text.trim().is_empty() { "nothing" } else { &edited.text };
                        let answer = format!("{} · {said}", self.question);
                        let mut lines = wrapped(&answer, screen.columns() - 2);
                        for (index, line) in lines.iter_mut().enumerate() {
                            let mark = if index == 0 { screen.paint("32", "✔") } else { " ".to_owned() };
                            *line = format!("{mark} {line}");
                        }
                        screen.close(&lines)?;
                        return Ok(Some(edited.text));
                    }
                    Err(why) => wrong = Some(why),
                },
                Key::Escape => {
                    screen.close(&[])?;
                    return Ok(None);
                }
                key => edited.press(key),
            }
        }
    }

    fn draw(&self, screen: &mut Screen, edited: &Edited, wrong: Option<&str>) -> Result<(), Failure> {
        let columns = screen.columns();
        let hint = if self.hint.is_empty() { String::new() } else { format!(" ({})", self.hint) };
        let hint = cut(&hint, columns.saturating_sub(2 + self.question.width()));
        let (question, hint) = (screen.paint("1", self.question), screen.paint("2", &hint));
        let mut lines = vec![format!("{} {question}{hint}", screen.paint("33", "?"))];

        let (before, after) = edited.text.split_at(edited.at);
        let (mut rows, mut row, mut column) = shown(before, after, columns - 2);
        // A long text is shown around the cursor.
        let room = screen.rows() - 3;
        let from = if rows.len() > room { row.saturating_sub(room - 1) } else { 0 };
        rows = rows.into_iter().skip(from).take(room).collect();
        row = row - from + 1;
        column += 2;
        for (index, text) in rows.iter().enumerate() {
            let mark = if index == 0 { screen.paint("36", "›") } else { " ".to_owned() };
            lines.push(format!("{mark} {text}"));
        }
        if let Some(why) = wrong {
            lines.push(format!("{} {}", screen.paint("31", "✘"), cut(why, columns - 2)));
        }
        screen.draw(&lines, Some((row, column)))
    }
}

/// The rows of a text, and the row and column of the cursor between its two parts.
fn shown(before: &str, after: &str, columns: usize) -> (Vec<String>, usize, usize) {
    let mut rows = folded(&format!("{before}{after}"), columns);
    let start = folded(before, columns);
    let (mut row, mut column) = (start.len() - 1, start.last().map_or(0, |line| line.width()));
    let next = after.graphemes(true).next().map_or(1, |piece| folded(piece, columns)[0].width());
    if column + next > columns {
        (row, column) = (row + 1, 0);
        if rows.len() <= row {
            rows.push(String::new());
        }
    }
    (rows, row, column)
}

impl Edited {
    fn press(&mut self, key: Key) {
        match key {
            Key::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            Key::Pasted(text) => self.insert(&text.replace(char::is_control, "")),
            Key::Left => self.at = self.previous(),
            Key::Right => self.at = self.next(),
            Key::WordLeft => self.at = self.word_before(),
            Key::WordRight => self.at = self.word_after(),
            Key::Home | Key::Up | Key::PageUp => self.at = 0,
            Key::End | Key::Down | Key::PageDown => self.at = self.text.len(),
            Key::Backspace => self.erase_from(self.previous()),
            Key::EraseWord => self.erase_from(self.word_before()),
            Key::EraseLine => self.erase_from(0),
            Key::Delete => {
                let to = self.next();
                self.text.replace_range(self.at..to, "");
            }
            Key::Enter | Key::Escape | Key::Tab | Key::BackTab | Key::Unknown => {}
        }
    }

    fn insert(&mut self, text: &str) {
        self.text.insert_str(self.at, text);
        self.at += text.len();
    }

    fn erase_from(&mut self, from: usize) {
        self.text.replace_range(from..self.at, "");
        self.at = from;
    }

    fn previous(&self) -> usize {
        self.text[..self.at].grapheme_indices(true).next_back().map_or(0, |(place, _)| place)
    }

    fn next(&self) -> usize {
        self.at + self.text[self.at..].graphemes(true).next().map_or(0, str::len)
    }

    fn word_before(&self) -> usize {
        let before = self.text[..self.at].trim_end();
        before
            .rfind(char::is_whitespace)
            .map_or(0, |space| space + before[space..].chars().next().map_or(0, char::len_utf8))
    }

    fn word_after(&self) -> usize {
        let after = &self.text[self.at..];
        let begins = after.len() - after.trim_start().len();
        after[begins..].find(char::is_whitespace).map_or(self.text.len(), |space| self.at + begins + space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Edited {
        let mut edited = Edited::default();
        edited.insert(text);
        edited
    }

    fn pressed(text: &str, keys: impl IntoIterator<Item = Key>) -> String {
        let mut edited = typed(text);
        keys.into_iter().for_each(|key| edited.press(key));
        let (before, after) = edited.text.split_at(edited.at);
        format!("{before}|{after}")
    }

    #[test]
    fn keys_move_and_erase_whole_characters() {
        assert_eq!(pressed("日本", [Key::Backspace]), "日|");
        assert_eq!(pressed("日本", [Key::Left, Key::Char('x')]), "日x|本");
        assert_eq!(pressed("e\u{301}a", [Key::Home, Key::Delete]), "|a", "a letter with its accent");
        assert_eq!(pressed("a👩\u{200d}💻", [Key::Backspace]), "a|", "an emoji of several parts");
        assert_eq!(pressed("a", [Key::Backspace, Key::Backspace, Key::Left, Key::Delete, Key::Right]), "|");
    }

    #[test]
    fn keys_move_and_erase_words() {
        assert_eq!(pressed("one two  ", [Key::EraseWord]), "one |");
        assert_eq!(pressed("one two", [Key::WordLeft, Key::WordLeft]), "|one two");
        assert_eq!(pressed("one two", [Key::Home, Key::WordRight]), "one| two");
        assert_eq!(pressed("一\u{3000}二", [Key::WordLeft]), "一\u{3000}|二");
        assert_eq!(pressed("one two", [Key::Left, Key::EraseLine]), "|o");
        assert_eq!(pressed("a", [Key::Pasted("b\u{1b}[31mc".to_owned())]), "ab[31mc|", "nothing acts on the terminal");
    }

    #[test]
    fn the_cursor_is_where_the_next_character_goes() {
        assert_eq!(shown("ab", "", 3), (vec!["ab".to_owned()], 0, 2));
        assert_eq!(shown("abc", "", 3), (vec!["abc".to_owned(), String::new()], 1, 0));
        assert_eq!(shown("ab", "日", 3), (vec!["ab".to_owned(), "日".to_owned()], 1, 0));
        assert_eq!(shown("日本", "語", 5), (vec!["日本".to_owned(), "語".to_owned()], 1, 0));
    }
}
