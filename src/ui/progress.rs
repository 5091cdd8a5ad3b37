//! A bar on the terminal for what takes more than a second.
//!
//! Drawn by hand: the library for it computes with powers, for whose sake the system's mathematics would be loaded at every
//! start of the program, a tenth of a short command's time.

use std::io::Write;
use std::time::{Duration, Instant};

/// What takes less is over before anybody wonders.
const UNSEEN: Duration = Duration::from_secs(1);
const REDRAWN: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

#[derive(Default)]
pub struct ProgressBar {
    begun: Option<Instant>,
    drawn: Option<Instant>,
}

impl ProgressBar {
    pub fn show(&mut self, done: u64, waiting: u64) {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let fresh = self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAWN);
        if begun.elapsed() < UNSEEN || fresh {
            return;
        }
        self.drawn = Some(Instant::now());
        let _ = write!(std::io::stderr(), "\r{}\x1b[K", bar(done, waiting));
    }

    /// Leaves the line as it was.
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
