//! Times and durations. The first line is a time or a duration, as people type it.

use access::domain::duration::{Duration, Length};
use access::domain::preference::{Digest, TimeOfDay};
use access::domain::replica::OfflineLimit;
use access::domain::time::{Timestamp, clock};
use access::time_format::{date_and_time, day_or_hour, in_full, relative};
use access::time_input::{Pick, Resolved, TypedTime};
use chrono::{DateTime, Timelike as _};

use super::reads_back;

/// 2026-11-24T09:00:00Z
const NOW: i64 = 1_795_510_800;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(length) = reads_back::<Length>(text) {
        assert!((1..=Length::LONGEST.seconds()).contains(&length.seconds()), "{text:?}");
        assert_eq!(text.parse(), Ok(Duration::For(length)));
    }
    reads_back::<Duration>(text);
    reads_back::<OfflineLimit>(text);
    reads_back::<TimeOfDay>(text);
    reads_back::<Digest>(text);
    if let Some(time) = clock(text) {
        assert_eq!(clock(&time.format("%H:%M:%S").to_string()), Some(time));
        assert!(time.nanosecond() == 0);
    }
    instants(text);
    typed(text);
}

fn instants(text: &str) {
    let now = Timestamp::from_unix(NOW).unwrap();
    let read = reads_back::<Timestamp>(text);
    let other = DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp());
    let other = other.filter(|seconds| (0..=253_402_300_799).contains(seconds));
    assert_eq!(read.map(Timestamp::unix), other, "{text:?}, by chrono");
    if let Some(time) = read {
        assert!(time.to_string().len() == 20);
        assert!(time.plus(Length::LONGEST) >= time && time.minus(Length::LONGEST) <= time);
        for words in [date_and_time(time), day_or_hour(time, now), relative(time, now), in_full(time, now)] {
            assert!(!words.is_empty());
        }
    }
}

fn typed(text: &str) {
    let now = Timestamp::from_unix(NOW).unwrap();
    let Some(typed) = reads_back::<TypedTime>(text) else { return };
    let at = |pick| typed.resolve(now, pick).ok().map(|Resolved { at, .. }| at);
    match typed {
        TypedTime::In(_) => assert!(at(Pick::Next) > Some(now), "{text:?}"),
        TypedTime::Ago(_) => assert!(at(Pick::Last).is_some_and(|at| at < now), "{text:?}"),
        TypedTime::Instant(instant) => assert_eq!(at(Pick::Next), Some(instant)),
        TypedTime::Local(_) => {
            let day = 86_400;
            // Unless a day is named, the next is within two days, and the last not after now.
            if text.trim().len() <= 5 && text.contains(':') {
                assert!(at(Pick::Next).is_some_and(|at| at > now && at.since(now) <= 2 * day), "{text:?}");
                assert!(at(Pick::Last).is_some_and(|at| at <= now && now.since(at) <= 2 * day), "{text:?}");
            }
            at(Pick::UpTo);
        }
    }
}
