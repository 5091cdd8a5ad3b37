//! A bar on the terminal for what takes longer than a second.

use std::time::{Duration, Instant};

use indicatif::{ProgressDrawTarget, ProgressStyle};

const DELAY: Duration = Duration::from_secs(1);
const DRAWN_PER_SECOND: u8 = 10;
/// `[#########                     ] 300 sent, 700 wait`
const TEMPLATE: &str = "[{bar:30}] {pos} sent, {msg}";

#[derive(Default)]
pub struct ProgressBar {
    begun: Option<Instant>,
    bar: Option<indicatif::ProgressBar>,
}

impl ProgressBar {
    pub fn show(&mut self, done: u64, waiting: u64) {
        if self.begun.get_or_insert_with(Instant::now).elapsed() < DELAY {
            return;
        }
        let bar = self.bar.get_or_insert_with(bar);
        bar.set_length(done + waiting);
        bar.set_message(format!("{waiting} wait"));
        bar.set_position(done);
    }

    /// Removes the bar.
    pub fn clear(&mut self) {
        self.begun = None;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> indicatif::ProgressBar {
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.progress_chars("# ");
    let stderr = ProgressDrawTarget::stderr_with_hz(DRAWN_PER_SECOND);
    indicatif::ProgressBar::with_draw_target(None, stderr).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_of_the_bar_is_valid() {
        ProgressStyle::with_template(TEMPLATE).unwrap();
    }
}
