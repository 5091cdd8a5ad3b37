//! A bar on the terminal for what takes longer than a second.
//!
//! Not by indicatif: it needs libm, and to load that takes 5 % of every `check`.

use std::io::Write;
use std::time::{Duration, Instant};

const DELAY: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

#[derive(Default)]
pub struct ProgressBar {
    begun: Option<Instant>,
    drawn: Option<Instant>,
}

impl ProgressBar {
    pub fn show(&mut self, done: u64, waiting: u64) {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let just_drawn = self.drawn.is_some_and(|drawn| drawn.elapsed() < INTERVAL);
        if begun.elapsed() < DELAY || just_drawn {
            return;
        }
        self.drawn = Some(Instant::now());
        let _ = write!(std::io::stderr(), "\r{}\x1b[K", bar(done, waiting));
    }

    /// Removes the bar.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        self.begun = None;
    }
}

/// `[#########                     ] 300 sent, 700 wait`
fn bar(done: u64, waiting: u64) -> String {
    let filled = WIDTH * done / (done + waiting).max(1);
    let marks: String = (0..WIDTH).map(|place| if place < filled { '#' } else { ' ' }).collect();
    format!("[{marks}] {done} sent, {waiting} wait")
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn a_bar_fills_as_work_is_done() {
        assert_eq!(bar(300, 700), "[#########                     ] 300 sent, 700 wait");
        assert_eq!(bar(0, 0), "[                              ] 0 sent, 0 wait");
        assert!(bar(7, 0).starts_with("[##############################]"));
    }
}
