//! When a certificate expires.

use std::path::Path;

use crate::error::Failure;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of the first certificate in a file (PEM), as in `2027-11-24T09:00:00Z`.
pub fn ends_at(path: &Path) -> Result<String, Failure> {
    let certificates = super::certificates(path)?;
    let end = certificates.first().and_then(|certificate| not_after(certificate));
    end.ok_or_else(|| super::invalid(path, "its end can't be read"))
}

/// Certificate, TBSCertificate, and in it after the version, the serial number, the algorithm and the issuer: the validity.
fn not_after(der: &[u8]) -> Option<String> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (validity, _) = expect(fields, SEQUENCE)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    let time = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    if !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let time = match (tag, time.len()) {
        (UTC_TIME, 12) if time < "50" => format!("20{time}"),
        (UTC_TIME, 12) => format!("19{time}"),
        (GENERALIZED_TIME, 14) => time.to_owned(),
        _ => return None,
    };
    let part = |from: usize| time.get(from..from + 2);
    let (month, day, hour, minute, second) = (part(4)?, part(6)?, part(8)?, part(10)?, part(12)?);
    Some(format!("{}-{month}-{day}T{hour}:{minute}:{second}Z", time.get(..4)?))
}

fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(der)?;
    (found == tag).then_some((content, rest))
}

/// The tag and content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let length =
            bytes.iter().try_fold(0_usize, |length, &byte| length.checked_mul(256)?.checked_add(byte.into()))?;
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// With both kinds of time, and a version or none.
    fn certificate(version: &[u8], end: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, parts: &[&[u8]]| {
            let content = parts.concat();
            [&[tag, 0x81, u8::try_from(content.len()).unwrap()][..], &content].concat()
        };
        let begin = [&[UTC_TIME, 13][..], b"251124090000Z"].concat();
        let validity = wrap(SEQUENCE, &[&begin, end]);
        let fields = [version, &[2, 1, 7], &[SEQUENCE, 0], &[SEQUENCE, 0], &validity, &[SEQUENCE, 0]];
        wrap(SEQUENCE, &[&wrap(SEQUENCE, &fields), &[SEQUENCE, 0]])
    }

    #[test]
    fn the_end_of_a_certificate_is_read() {
        let utc = [&[UTC_TIME, 13][..], b"271124090001Z"].concat();
        let general = [&[GENERALIZED_TIME, 15][..], b"20611124090001Z"].concat();
        let version = [VERSION, 3, 2, 1, 2];
        assert_eq!(not_after(&certificate(&version, &utc)).as_deref(), Some("2027-11-24T09:00:01Z"));
        assert_eq!(not_after(&certificate(&[], &general)).as_deref(), Some("2061-11-24T09:00:01Z"));
        let whole = certificate(&version, &utc);
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_certificate_panics_and_an_end_is_a_time(
            changes in proptest::collection::vec((0..60_usize, any::<u8>()), 0..4),
            length in 0..60_usize,
        ) {
            let mut der = certificate(&[VERSION, 3, 2, 1, 2], &[&[UTC_TIME, 13][..], b"271124090001Z"].concat());
            changes.into_iter().for_each(|(at, byte)| if let Some(changed) = der.get_mut(at) { *changed = byte });
            for der in [&der[..], &der[..length.min(der.len())]] {
                if let Some(end) = not_after(der) {
                    prop_assert!(end.len() == 20 && end.bytes().all(|b| b.is_ascii_digit() || b"-T:Z".contains(&b)), "{end:?}");
                }
            }
        }
    }
}
