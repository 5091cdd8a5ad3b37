//! What holds while something else goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

/// Samples each of these every 50 ms while the work goes on. Returns how often each was sampled at least.
#[track_caller]
pub fn held_meanwhile(samples: &[&(dyn Fn() -> bool + Sync)], work: impl FnOnce()) -> usize {
    let over = AtomicBool::new(false);
    let counts = scope(|scope| {
        let follow = |sample: &'_ (dyn Fn() -> bool + Sync)| {
            let (mut count, mut gaps) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                gaps += usize::from(!sample());
                count += 1;
                sleep(Duration::from_millis(50));
            }
            (count, gaps)
        };
        let followers: Vec<_> = samples.iter().map(|sample| scope.spawn(move || follow(*sample))).collect();
        // The followers end also if the work fails.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        let counts: Vec<(usize, usize)> = followers.into_iter().map(|it| it.join().unwrap()).collect();
        done.unwrap_or_else(|why| std::panic::resume_unwind(why));
        counts
    });
    assert!(counts.iter().all(|(_, gaps)| *gaps == 0), "samples and gaps: {counts:?}");
    counts.into_iter().map(|(count, _)| count).min().unwrap()
}
