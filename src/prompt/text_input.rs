//! A text field. The text may be longer than the terminal is wide, and its characters may be wide.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::screen::{KeyPress, Screen, cut, folded};
use crate::error::Failure;

/// A question that is answered with a text.
pub struct TextInput<'l> {
    pub question: &'l str,
    /// What the answer should look like.
    pub hint: &'l str,
    /// The text to start with.
    pub initial: &'l str,
    /// Says why an answer is not valid.
    pub check: &'l dyn Fn(&str) -> Result<(), String>,
}

/// A text and the position of the cursor in it.
#[derive(Default)]
struct Editor {
    text: String,
    at: usize,
}

impl TextInput<'_> {
    /// None if the user presses Esc.
    pub fn ask(&self, color: bool) -> Result<Option<String>, Failure> {
        let mut screen = Screen::open(color, false)?;
        let mut editor = Editor { text: self.initial.to_owned(), at: self.initial.len() };
        let mut wrong = None;
        loop {
            self.draw(&mut screen, &editor, wrong.as_deref())?;
            wrong = None;
            match screen.key()? {
                KeyPress::Enter => match (self.check)(&editor.text) {
                    Ok(()) => {
                        let shown = if editor.text.trim().is_empty() { "nothing" } else { &editor.text };
                        screen.close_answered(&format!("{} · {shown}", self.question))?;
                        return Ok(Some(editor.text));
                    }
                    Err(why) => wrong = Some(why),
                },
                KeyPress::Escape => {
                    screen.close(&[])?;
                    return Ok(None);
                }
                key => editor.press(key),
            }
        }
    }

    fn draw(&self, screen: &mut Screen, editor: &Editor, wrong: Option<&str>) -> Result<(), Failure> {
        let columns = screen.columns();
        let hint = if self.hint.is_empty() { String::new() } else { format!(" ({})", self.hint) };
        let hint = cut(&hint, columns.saturating_sub(2 + self.question.width()));
        let (question, hint) = (screen.paint("1", self.question), screen.paint("2", &hint));
        let mut lines = vec![format!("{} {question}{hint}", screen.paint("33", "?"))];

        let (before, after) = editor.text.split_at(editor.at);
        let (mut rows, mut row, mut column) = shown(before, after, columns - 2);
        // Of a long text, the rows around the cursor are shown.
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

/// The rows of a text, and the row and column of the cursor, which is between the two parts.
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

impl Editor {
    fn press(&mut self, key: KeyPress) {
        match key {
            KeyPress::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            KeyPress::Pasted(text) => self.insert(&text.replace(char::is_control, "")),
            KeyPress::Left => self.at = self.previous(),
            KeyPress::Right => self.at = self.next(),
            KeyPress::WordLeft => self.at = self.word_before(),
            KeyPress::WordRight => self.at = self.word_after(),
            KeyPress::Home | KeyPress::Up | KeyPress::PageUp => self.at = 0,
            KeyPress::End | KeyPress::Down | KeyPress::PageDown => self.at = self.text.len(),
            KeyPress::Backspace => self.erase_from(self.previous()),
            KeyPress::EraseWord => self.erase_from(self.word_before()),
            KeyPress::EraseLine => self.erase_from(0),
            KeyPress::Delete => {
                let to = self.next();
                self.text.replace_range(self.at..to, "");
            }
            KeyPress::Enter | KeyPress::Escape | KeyPress::Tab | KeyPress::BackTab | KeyPress::Unknown => {}
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

    fn typed(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    fn pressed(text: &str, keys: impl IntoIterator<Item = KeyPress>) -> String {
        let mut editor = typed(text);
        keys.into_iter().for_each(|key| editor.press(key));
        let (before, after) = editor.text.split_at(editor.at);
        format!("{before}|{after}")
    }

    #[test]
    fn keys_move_and_erase_whole_characters() {
        assert_eq!(pressed("日本", [KeyPress::Backspace]), "日|");
        assert_eq!(pressed("日本", [KeyPress::Left, KeyPress::Char('x')]), "日x|本");
        assert_eq!(pressed("e\u{301}a", [KeyPress::Home, KeyPress::Delete]), "|a", "a letter with its accent");
        assert_eq!(pressed("a👩\u{200d}💻", [KeyPress::Backspace]), "a|", "an emoji of several parts");
        assert_eq!(
            pressed("a", [KeyPress::Backspace, KeyPress::Backspace, KeyPress::Left, KeyPress::Delete, KeyPress::Right]),
            "|"
        );
    }

    #[test]
    fn keys_move_and_erase_words() {
        assert_eq!(pressed("one two  ", [KeyPress::EraseWord]), "one |");
        assert_eq!(pressed("one two", [KeyPress::WordLeft, KeyPress::WordLeft]), "|one two");
        assert_eq!(pressed("one two", [KeyPress::Home, KeyPress::WordRight]), "one| two");
        assert_eq!(pressed("一\u{3000}二", [KeyPress::WordLeft]), "一\u{3000}|二");
        assert_eq!(pressed("one two", [KeyPress::Left, KeyPress::EraseLine]), "|o");
        assert_eq!(
            pressed("a", [KeyPress::Pasted("b\u{1b}[31mc".to_owned())]),
            "ab[31mc|",
            "nothing acts on the terminal"
        );
    }

    #[test]
    fn the_cursor_is_where_the_next_character_goes() {
        assert_eq!(shown("ab", "", 3), (vec!["ab".to_owned()], 0, 2));
        assert_eq!(shown("abc", "", 3), (vec!["abc".to_owned(), String::new()], 1, 0));
        assert_eq!(shown("ab", "日", 3), (vec!["ab".to_owned(), "日".to_owned()], 1, 0));
        assert_eq!(shown("日本", "語", 5), (vec!["日本".to_owned(), "語".to_owned()], 1, 0));
    }
}
