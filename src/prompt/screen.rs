//! Part of a terminal that is drawn over itself while a question is asked, and the keys that are pressed meanwhile.

use std::borrow::Cow;
use std::io;

use dialoguer::console::{self, Term};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::failed;
use crate::domain::text::visible;
use crate::error::Failure;

/// A key as the widgets know it.
#[derive(Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Pasted(String),
    Enter,
    Escape,
    Up,
    Down,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    PageUp,
    PageDown,
    Backspace,
    Delete,
    EraseWord,
    EraseLine,
    Tab,
    BackTab,
    Unknown,
}

/// The terminal hands over each key for as long as this lives. Without it `console` switches back and forth around each
/// key, and what is typed or pasted in between is echoed and may be lost.
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// `fresh`: what was typed before the question was there is discarded, so that it answers nothing.
    pub fn begin(fresh: bool) -> Result<Raw, Failure> {
        let before = tcgetattr(io::stdin()).map_err(|errno| failed(&errno.into()))?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        raw.output_flags = before.output_flags;
        let how = if fresh { SetArg::TCSAFLUSH } else { SetArg::TCSADRAIN };
        tcsetattr(io::stdin(), how, &raw).map_err(|errno| failed(&errno.into()))?;
        Ok(Raw { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
        // Both may be off at this point, however the question ended.
        let _ = Term::stderr().write_str("\x1b[?2004l\x1b[?25h");
    }
}

pub struct Screen {
    term: Term,
    color: bool,
    /// The row that the cursor is in, counted from the first that is drawn.
    row: usize,
    _raw: Raw,
}

impl Screen {
    /// `fresh`: see `Raw::begin`.
    pub fn open(color: bool, fresh: bool) -> Result<Screen, Failure> {
        let raw = Raw::begin(fresh)?;
        let term = Term::stderr();
        // A text that is pasted comes between marks, so that its line breaks are not taken for Enter.
        term.write_str("\x1b[?2004h").map_err(|error| failed(&error))?;
        Ok(Screen { term, color, row: 0, _raw: raw })
    }

    pub fn rows(&self) -> usize {
        usize::from(self.term.size().0).max(4)
    }

    /// Columns that can be written: the last one stays empty, so that the terminal never breaks a line by itself.
    pub fn columns(&self) -> usize {
        usize::from(self.term.size().1).max(20) - 1
    }

    pub fn paint(&self, code: &str, words: &str) -> String {
        if self.color && !words.is_empty() { format!("\x1b[{code}m{words}\x1b[0m") } else { words.to_owned() }
    }

    /// Draws these lines in place of those before. Each fits. `cursor`: its row and column, or it is hidden.
    pub fn draw(&mut self, lines: &[String], cursor: Option<(usize, usize)>) -> Result<(), Failure> {
        let up = |rows: usize| if rows > 0 { format!("\x1b[{rows}A") } else { String::new() };
        let last = lines.len().saturating_sub(1);
        // Each line is cleared behind its text, and the screen behind the last: tmux keeps what is cleared from its upper
        // left corner on as if it had scrolled away.
        let drawn = if lines.is_empty() { " ".to_owned() } else { lines.join("\x1b[K\r\n") };
        let mut text = format!("\x1b[?25l{}\r{drawn}\x1b[J", up(self.row));
        if lines.is_empty() {
            text += "\r\x1b[K";
        }
        self.row = last;
        if let Some((row, column)) = cursor {
            let right = if column > 0 { format!("\x1b[{column}C") } else { String::new() };
            text += &format!("{}\r{right}\x1b[?25h", up(last - row));
            self.row = row;
        }
        self.term.write_str(&text).map_err(|error| failed(&error))
    }

    /// Leaves these lines behind, and the cursor below them.
    pub fn close(mut self, lines: &[String]) -> Result<(), Failure> {
        self.draw(lines, None)?;
        let end = if lines.is_empty() { "\r" } else { "\r\n" };
        self.row = 0;
        self.term.write_str(end).map_err(|error| failed(&error))
    }

    /// Waits for a key. Ctrl-C is a failure of its own kind.
    pub fn key(&self) -> Result<Key, Failure> {
        Ok(match self.read()? {
            console::Key::Char('\u{15}') => Key::EraseLine,
            console::Key::Char('\u{17}') => Key::EraseWord,
            console::Key::Char(c) if c.is_control() => Key::Unknown,
            console::Key::Char(c) => Key::Char(c),
            console::Key::Enter => Key::Enter,
            console::Key::Escape => Key::Escape,
            console::Key::ArrowUp => Key::Up,
            console::Key::ArrowDown => Key::Down,
            console::Key::ArrowLeft => Key::Left,
            console::Key::ArrowRight => Key::Right,
            console::Key::Home => Key::Home,
            console::Key::End => Key::End,
            console::Key::PageUp => Key::PageUp,
            console::Key::PageDown => Key::PageDown,
            console::Key::Backspace => Key::Backspace,
            console::Key::Del => Key::Delete,
            console::Key::Tab => Key::Tab,
            console::Key::BackTab => Key::BackTab,
            console::Key::UnknownEscSeq(begun) => self.sequence(begun)?,
            _ => Key::Unknown,
        })
    }

    fn read(&self) -> Result<console::Key, Failure> {
        match self.term.read_key_raw().map_err(|error| failed(&error))? {
            console::Key::CtrlC => Err(super::interrupted()),
            key => Ok(key),
        }
    }

    /// A sequence that `console` does not know, of which it reads only the beginning. The rest would be taken for text.
    fn sequence(&self, begun: Vec<char>) -> Result<Key, Failure> {
        let text = self.whole(begun)?;
        Ok(match text.as_str() {
            "OA" => Key::Up,
            "OB" => Key::Down,
            "OC" => Key::Right,
            "OD" => Key::Left,
            "OH" => Key::Home,
            "OF" => Key::End,
            "b" | "[1;5D" | "[1;3D" => Key::WordLeft,
            "f" | "[1;5C" | "[1;3C" => Key::WordRight,
            "\u{7f}" => Key::EraseWord,
            "[200~" => Key::Pasted(self.pasted()?),
            _ => Key::Unknown,
        })
    }

    fn whole(&self, begun: Vec<char>) -> Result<String, Failure> {
        let mut text: String = begun.into_iter().collect();
        let ends = |text: &str| match text.as_bytes() {
            [b'O' | b'['] => false,
            [b'[', .., last] => (b'@'..=b'~').contains(last),
            _ => true,
        };
        while !ends(&text) {
            match self.read()? {
                console::Key::Char(c) => text.push(c),
                _ => break,
            }
        }
        Ok(text)
    }

    /// What is pasted, up to its end mark, as one line.
    fn pasted(&self) -> Result<String, Failure> {
        let mut text = String::new();
        loop {
            let ended = match self.read()? {
                console::Key::UnknownEscSeq(begun) => self.whole(begun)? == "[201~",
                key => {
                    text.extend(match key {
                        console::Key::Char(c) => Some(c),
                        console::Key::Enter | console::Key::Tab => Some(' '),
                        _ => None,
                    });
                    false
                }
            };
            if ended {
                return Ok(text);
            }
        }
    }
}

impl Drop for Screen {
    /// A question that was not answered leaves nothing behind.
    fn drop(&mut self) {
        let _ = self.draw(&[], None);
    }
}

/// The text as it is shown, cut to so many columns.
pub fn cut(text: &str, columns: usize) -> String {
    let text = visible(text, false);
    if text.width() <= columns {
        return text.into_owned();
    }
    let mut short = String::new();
    for piece in text.graphemes(true) {
        if short.width() + piece.width() >= columns {
            break;
        }
        short += piece;
    }
    short + "…"
}

/// The text as it is shown, in lines of at most so many columns.
pub fn folded(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut column = 0;
    for piece in visible(text, false).graphemes(true) {
        let width = piece.width();
        if column + width > columns {
            lines.push(String::new());
            column = 0;
        }
        if let Some(line) = lines.last_mut() {
            *line += piece;
        }
        column += width;
    }
    lines
}

/// The same, broken between words where there are any.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let options = textwrap::Options::new(columns).word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(&visible(text, false), options).into_iter().map(Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(folded("ab日本", 4), ["ab日", "本"]);
        assert_eq!(folded("ab日本", 3), ["ab", "日", "本"]);
        assert_eq!(folded("", 3), [""]);
        assert_eq!(wrapped("ab cd ef", 5), ["ab cd", "ef"]);
        assert_eq!(wrapped("日本語日本 ab", 5), ["日本", "語日", "本 ab"]);
        assert_eq!(folded("a\u{202e}b", 20), ["a\\u{202e}b"]);
    }
}
