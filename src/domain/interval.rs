//! Intervals of time, in seconds since 1970: what they cover, and how long they are together.

/// How many seconds lie in any of these intervals.
pub fn measure(mut intervals: Vec<(i64, i64)>) -> i64 {
    intervals.sort_unstable();
    let mut reached = i64::MIN;
    let mut sum = 0;
    for (start, end) in intervals {
        sum += (end - start.max(reached)).max(0);
        reached = reached.max(end);
    }
    sum
}

/// Whether intervals, in the order of their starts, cover all from `from` to `to`.
pub fn covered(intervals: impl Iterator<Item = (i64, i64)>, from: i64, to: i64) -> bool {
    let mut reached = from;
    for (start, end) in intervals {
        if start <= reached {
            reached = reached.max(end);
        }
    }
    reached >= to
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts every second by itself.
    fn measured_slowly(intervals: &[(i64, i64)]) -> i64 {
        let inside = |second: &i64| intervals.iter().any(|(from, to)| (from..to).contains(&second));
        i64::try_from((0..60).filter(inside).count()).unwrap()
    }

    proptest! {
        #[test]
        fn overlapping_time_counts_once(intervals in prop::collection::vec((0..50_i64, 0..10_i64), 0..6)) {
            let intervals: Vec<(i64, i64)> = intervals.into_iter().map(|(from, long)| (from, from + long)).collect();
            prop_assert_eq!(measure(intervals.clone()), measured_slowly(&intervals));
        }

        #[test]
        fn time_is_covered_if_every_second_is(
            mut intervals in prop::collection::vec((0..50_i64, 1..10_i64), 0..6), from in 0..40_i64, long in 1..15_i64
        ) {
            intervals.sort_unstable();
            let intervals: Vec<(i64, i64)> = intervals.into_iter().map(|(from, long)| (from, from + long)).collect();
            let every = (from..from + long).all(|second| intervals.iter().any(|(a, b)| (*a..*b).contains(&second)));
            prop_assert_eq!(covered(intervals.iter().copied(), from, from + long), every);
        }
    }
}
