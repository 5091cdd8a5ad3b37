//! A bar on the terminal for what takes more than a second.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const UNSEEN: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Progress {
    begun: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub fn show(&mut self, done: u64, waiting: u64) {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        if begun.elapsed() < UNSEEN {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            match ProgressStyle::with_template("{bar:30} {pos} sent, {len} in all ({per_sec}, {eta} left)") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.set_length(done + waiting);
        bar.set_position(done);
    }

    /// Leaves the line as it was.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.begun = None;
    }
}
