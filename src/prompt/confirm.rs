//! A question that is answered with yes or no.

use unicode_width::UnicodeWidthStr;

use super::screen::{KeyPress, Screen, wrapped};
use crate::error::Failure;

/// Enter and Esc mean no.
pub fn ask(question: &str, color: bool) -> Result<bool, Failure> {
    let mut screen = Screen::open(color, true)?;
    let yes = loop {
        let mut lines = wrapped(&format!("{question} (y/N)"), screen.columns() - 2);
        let cursor = (lines.len() - 1, lines.last().map_or(0, |line| line.width()) + 3);
        for (index, line) in lines.iter_mut().enumerate() {
            let mark = if index == 0 { screen.paint("33", "?") } else { " ".to_owned() };
            *line = format!("{mark} {}", screen.paint("1", line));
        }
        screen.draw(&lines, Some(cursor))?;
        match screen.key()? {
            KeyPress::Char('y' | 'Y') => break true,
            KeyPress::Char('n' | 'N') | KeyPress::Enter | KeyPress::Escape => break false,
            _ => {}
        }
    };
    screen.close_answered(&format!("{question} · {}", if yes { "yes" } else { "no" }))?;
    Ok(yes)
}
