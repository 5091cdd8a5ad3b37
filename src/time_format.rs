//! Times written for people: in the local time zone, and relative to now.

use tz::TimeZoneRef;

use crate::domain::duration::brief;
use crate::domain::time::{CLOCK_SLACK, Timestamp};
use crate::time_zone::{Offset, local_time, local_zone};

/// The local zone, or UTC where it is unknown. What is written names its offset, so nobody takes one for the other.
fn shown_zone() -> TimeZoneRef<'static> {
    local_zone().unwrap_or(TimeZoneRef::utc())
}

/// `2026-11-24 09:00 +01:00`, in the local time zone.
pub fn date_and_time(time: Timestamp) -> String {
    date_and_time_in(shown_zone(), time)
}

/// `2026-11-24 09:00 +01:00`, in this time zone.
pub fn date_and_time_in(zone: TimeZoneRef<'_>, time: Timestamp) -> String {
    let (local, offset) = local_time(zone, time);
    format!("{} {}", local.format("%Y-%m-%d %H:%M"), Offset(offset))
}

/// A sentence with the UTC times in it, `2026-11-24T08:00:00Z`, as `date_and_time` writes them. For what arrives as a
/// sentence: from the owner's process, which does not know the reader's zone.
pub fn with_local_times(sentence: &str) -> String {
    with_times(sentence, &date_and_time)
}

fn with_times(sentence: &str, write: &dyn Fn(Timestamp) -> String) -> String {
    const LENGTH: usize = "2026-11-24T08:00:00Z".len();
    let joins = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    // A part of a name or a path is not a time.
    let goes_on = |c: char| joins(c) || matches!(c, '/' | '.');
    let mut text = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some(first) = rest.chars().next() {
        let time = rest.get(..LENGTH).filter(|part| part.ends_with('Z')).and_then(|part| part.parse().ok());
        let alone = !text.ends_with(goes_on) && !rest.get(LENGTH..).is_some_and(|next| next.starts_with(joins));
        let taken = match time.filter(|_| alone) {
            Some(time) => {
                text += &write(time);
                LENGTH
            }
            None => {
                text.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    text
}

/// For narrow columns: `14:00 +01:00` if that is on the same day as `now`, else `2026-11-25`.
pub fn day_or_hour(time: Timestamp, now: Timestamp) -> String {
    let zone = shown_zone();
    let (local, offset) = local_time(zone, time);
    if local.date() == local_time(zone, now).0.date() {
        format!("{} {}", local.format("%H:%M"), Offset(offset))
    } else {
        local.format("%Y-%m-%d").to_string()
    }
}

/// `2d4h ago`, `now`, `in 7h59m`.
pub fn relative(time: Timestamp, now: Timestamp) -> String {
    match now.since(time) {
        0 => "now".to_owned(),
        apart @ 1.. => format!("{} ago", brief(apart)),
        apart => format!("in {}", brief(-apart)),
    }
}

/// How long ago something was recorded. A clock that ran ahead leaves times that are still to come, once it is set right.
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    match time.since(now) {
        ..=0 => relative(time, now),
        1..=CLOCK_SLACK => "now".to_owned(),
        _ => "by a wrong clock".to_owned(),
    }
}

/// `2026-11-24 09:00 +01:00 (2d4h ago)`, of something that was recorded.
pub fn recorded_in_full(time: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", date_and_time(time), ago(time, now))
}

/// `2026-11-24 09:00 +01:00 (2d4h ago)`, or `(in 7h59m)`.
pub fn in_full(time: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", date_and_time(time), relative(time, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_times_in_a_sentence_are_written_anew() {
        let write = |time: Timestamp| date_and_time_in(TimeZoneRef::utc(), time);
        for (sentence, written) in [
            ("until 2026-11-24T09:00:59Z (request 1)", "until 2026-11-24 09:00 UTC (request 1)"),
            ("2026-11-24T09:00:00Z → 2026-11-25T09:00:00Z", "2026-11-24 09:00 UTC → 2026-11-25 09:00 UTC"),
            ("since 2026-11-24T09:00:00Z: it may not be running", "since 2026-11-24 09:00 UTC: it may not be running"),
            ("the end, 2026-11-24T09:00:00Z, has passed", "the end, 2026-11-24 09:00 UTC, has passed"),
            ("log-2026-11-24T09:00:00Z.txt", "log-2026-11-24T09:00:00Z.txt"),
            ("/srv/2026-11-24T09:00:00Z", "/srv/2026-11-24T09:00:00Z"),
            ("2026-11-24T09:00:00Zebra", "2026-11-24T09:00:00Zebra"),
            ("2026-13-24T09:00:00Z", "2026-13-24T09:00:00Z"),
            ("2026-11-24T09:00:0é", "2026-11-24T09:00:0é"),
            ("", ""),
        ] {
            assert_eq!(with_times(sentence, &write), written);
        }
    }

    #[test]
    fn times_relative_to_now() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-24T09:00:00Z");
        for (time, words) in [
            ("2026-11-22T08:00:00Z", "2d1h ago"),
            ("2026-11-24T16:59:50Z", "in 7h59m"),
            ("2026-11-24T08:00:20Z", "59m ago"),
            ("2026-11-23T09:15:00Z", "23h45m ago"),
            ("2026-11-24T08:59:59Z", "1s ago"),
            ("2026-11-24T09:00:00Z", "now"),
            ("2026-12-01T09:00:00Z", "in 1w"),
        ] {
            assert_eq!(relative(at(time), now), words);
        }
        for (time, words) in [
            ("2026-11-22T08:00:00Z", "2d1h ago"),
            ("2026-11-24T09:00:00Z", "now"),
            ("2026-11-24T09:01:00Z", "now"),
            ("2026-11-24T09:01:01Z", "by a wrong clock"),
        ] {
            assert_eq!(ago(at(time), now), words);
        }
    }
}
