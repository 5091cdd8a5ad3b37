//! The part of the terminal that a question redraws, and the keys that are pressed in the meantime.

use std::borrow::Cow;
use std::io;

use console::Term;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::failed;
use crate::domain::text::{fitted, visible};
use crate::error::Failure;

/// A key, or a paste, as the widgets see it.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyPress {
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

/// Keeps the terminal in raw mode. Without it `console` enters and leaves raw mode for each key, and what is typed or pasted
/// in between is echoed and may be lost.
pub struct RawMode {
    before: Termios,
}

impl RawMode {
    /// `fresh`: discard what was typed before the question was shown, so that it does not answer the question.
    pub fn begin(fresh: bool) -> Result<RawMode, Failure> {
        let before = tcgetattr(io::stdin()).map_err(|errno| failed(&errno.into()))?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        raw.output_flags = before.output_flags;
        let how = if fresh { SetArg::TCSAFLUSH } else { SetArg::TCSADRAIN };
        tcsetattr(io::stdin(), how, &raw).map_err(|errno| failed(&errno.into()))?;
        Ok(RawMode { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
        // Turn off bracketed paste and show the cursor, however the question ended.
        let _ = Term::stderr().write_str("\x1b[?2004l\x1b[?25h");
    }
}

pub struct Screen {
    term: Term,
    color: bool,
    /// The row of the cursor, counted from the first drawn row.
    row: usize,
    _raw: RawMode,
}

impl Screen {
    /// `fresh`: see `RawMode::begin`.
    pub fn open(color: bool, fresh: bool) -> Result<Screen, Failure> {
        let raw = RawMode::begin(fresh)?;
        let term = Term::stderr();
        // Bracketed paste: line breaks in a pasted text are not taken for Enter.
        term.write_str("\x1b[?2004h").map_err(|error| failed(&error))?;
        Ok(Screen { term, color, row: 0, _raw: raw })
    }

    pub fn rows(&self) -> usize {
        usize::from(self.term.size().0).max(4)
    }

    /// The usable columns. The last one stays empty, so that the terminal never wraps a line by itself.
    pub fn columns(&self) -> usize {
        usize::from(self.term.size().1).max(20) - 1
    }

    pub fn paint(&self, code: &str, words: &str) -> String {
        if self.color && !words.is_empty() { format!("\x1b[{code}m{words}\x1b[0m") } else { words.to_owned() }
    }

    /// Replaces the drawn lines. Each must fit. `cursor` is its row and column; without it the cursor is hidden.
    pub fn draw(&mut self, lines: &[String], cursor: Option<(usize, usize)>) -> Result<(), Failure> {
        let up = |rows: usize| if rows > 0 { format!("\x1b[{rows}A") } else { String::new() };
        let last = lines.len().saturating_sub(1);
        // Clear to the end of each line, and below the last. Clearing the whole screen from its upper left corner would make
        // tmux keep the old text in its scrollback.
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

    /// Leaves these lines on the screen, with the cursor below them.
    pub fn close(mut self, lines: &[String]) -> Result<(), Failure> {
        self.draw(lines, None)?;
        let end = if lines.is_empty() { "\r" } else { "\r\n" };
        self.row = 0;
        self.term.write_str(end).map_err(|error| failed(&error))
    }

    /// Leaves a question with its answer on the screen.
    pub fn close_answered(self, text: &str) -> Result<(), Failure> {
        let mut lines = wrapped(text, self.columns() - 2);
        for (index, line) in lines.iter_mut().enumerate() {
            let mark = if index == 0 { self.paint("32", "✔") } else { " ".to_owned() };
            *line = format!("{mark} {line}");
        }
        self.close(&lines)
    }

    /// Waits for a key. Ctrl-C is a failure of the kind `Interrupted`.
    pub fn key(&self) -> Result<KeyPress, Failure> {
        Ok(match self.read()? {
            console::Key::Char('\u{15}') => KeyPress::EraseLine,
            console::Key::Char('\u{17}') => KeyPress::EraseWord,
            console::Key::Char(c) if c.is_control() => KeyPress::Unknown,
            console::Key::Char(c) => KeyPress::Char(c),
            console::Key::Enter => KeyPress::Enter,
            console::Key::Escape => KeyPress::Escape,
            console::Key::ArrowUp => KeyPress::Up,
            console::Key::ArrowDown => KeyPress::Down,
            console::Key::ArrowLeft => KeyPress::Left,
            console::Key::ArrowRight => KeyPress::Right,
            console::Key::Home => KeyPress::Home,
            console::Key::End => KeyPress::End,
            console::Key::PageUp => KeyPress::PageUp,
            console::Key::PageDown => KeyPress::PageDown,
            console::Key::Backspace => KeyPress::Backspace,
            console::Key::Del => KeyPress::Delete,
            console::Key::Tab => KeyPress::Tab,
            console::Key::BackTab => KeyPress::BackTab,
            console::Key::UnknownEscSeq(begun) => self.sequence(begun)?,
            _ => KeyPress::Unknown,
        })
    }

    fn read(&self) -> Result<console::Key, Failure> {
        match self.term.read_key_raw().map_err(|error| failed(&error))? {
            console::Key::CtrlC => Err(super::interrupted()),
            key => Ok(key),
        }
    }

    /// An escape sequence that `console` does not know. It reads only the beginning, and the rest would be taken for text.
    fn sequence(&self, begun: Vec<char>) -> Result<KeyPress, Failure> {
        let text = self.whole(begun)?;
        Ok(match text.as_str() {
            "OA" => KeyPress::Up,
            "OB" => KeyPress::Down,
            "OC" => KeyPress::Right,
            "OD" => KeyPress::Left,
            "OH" => KeyPress::Home,
            "OF" => KeyPress::End,
            "b" | "[1;5D" | "[1;3D" => KeyPress::WordLeft,
            "f" | "[1;5C" | "[1;3C" => KeyPress::WordRight,
            "\u{7f}" => KeyPress::EraseWord,
            "[200~" => KeyPress::Pasted(self.pasted()?),
            _ => KeyPress::Unknown,
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

    /// A pasted text up to its end mark, as one line.
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
    /// A question that was not answered leaves nothing on the screen.
    fn drop(&mut self) {
        let _ = self.draw(&[], None);
    }
}

/// The text made visible and cut to this many columns.
pub fn cut(text: &str, columns: usize) -> String {
    fitted(&visible(text, false), columns)
}

/// The text made visible, in lines of at most this many columns.
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

/// The same, broken between words where possible.
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
