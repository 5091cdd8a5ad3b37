//! SSH public keys, and those of members.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use super::text::is_hostile;
use super::{Malformed, checked_string};

/// The fingerprint of a key, as OpenSSH writes it: `SHA256:` and 43 characters of Base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFingerprint(String);
checked_string!(KeyFingerprint);

impl KeyFingerprint {
    /// The fingerprint of the key with these bytes.
    pub(super) fn of(key: &[u8]) -> KeyFingerprint {
        let text = format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)));
        text.parse().expect("SHA-256 has 43 digits in Base64")
    }
}

impl FromStr for KeyFingerprint {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<KeyFingerprint, Malformed> {
        let is_digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
        match text.strip_prefix("SHA256:") {
            Some(digest) if digest.len() == 43 && digest.bytes().all(is_digit) => Ok(KeyFingerprint(text.to_owned())),
            Some(_) | None => Err(Malformed::new("a fingerprint is SHA256: and 43 characters of Base64")),
        }
    }
}

/// A public key as OpenSSH writes it: its type, the key in Base64, and maybe a comment, each after one space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SshKey(String);
checked_string!(SshKey);

/// How the entries of the log write a key in the place of a Unix user. No login has a colon.
pub const SSH_KEY: &str = "ssh:";
/// The longest text of a key, in bytes. The largest key of RSA takes 2,800.
const LONGEST: usize = 4096;
/// The sizes that a key of RSA may have, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=16384;

pub(super) const ED25519: &str = "ssh-ed25519";
pub(super) const RSA: &str = "ssh-rsa";
pub(super) const SK_ED25519: &str = "sk-ssh-ed25519@openssh.com";
pub(super) const SK_ECDSA: &str = "sk-ecdsa-sha2-nistp256@openssh.com";
/// The curves of ECDSA, and how long a point is.
const CURVES: [(&str, usize); 3] = [("nistp256", 65), ("nistp384", 97), ("nistp521", 133)];

impl SshKey {
    fn word(&self, number: usize) -> &str {
        self.0.splitn(3, ' ').nth(number).unwrap_or_default()
    }

    /// The key itself, in Base64. Two keys are the same if this is.
    pub fn blob(&self) -> &str {
        self.word(1)
    }

    pub fn algorithm(&self) -> &str {
        self.word(0)
    }

    pub fn without_comment(&self) -> String {
        format!("{} {}", self.word(0), self.word(1))
    }

    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint::of(&STANDARD.decode(self.blob()).unwrap_or_default())
    }

    /// The fingerprint and the comment.
    pub fn in_words(&self) -> String {
        match self.word(2) {
            "" => self.fingerprint().to_string(),
            comment => format!("{} ({comment})", self.fingerprint()),
        }
    }
}

impl FromStr for SshKey {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<SshKey, Malformed> {
        let text = text.trim();
        if text.contains("PRIVATE KEY") {
            return Err(Malformed::new("is a private key; give the public key, from the file that ends in .pub"));
        }
        if text.len() > LONGEST || text.contains(|c| is_hostile(c) && c != '\t') {
            return Err(Malformed::new("is not one line with an SSH public key"));
        }
        let mut words = text.split_whitespace();
        let (algorithm, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let comment: Vec<&str> = words.collect();
        check_algorithm(algorithm, blob, &comment)?;
        let broken = || Malformed::new(format!("is not a whole {algorithm} key"));
        let bytes = STANDARD.decode(blob).map_err(|_| broken())?;
        check_blob(algorithm, &bytes).ok_or_else(broken)??;
        Ok(SshKey([&[algorithm, blob], &comment[..]].concat().join(" ")))
    }
}

fn is_known(algorithm: &str) -> bool {
    [ED25519, RSA, SK_ED25519, SK_ECDSA].contains(&algorithm) || curve(algorithm).is_some()
}

/// The curve of a key of ECDSA, and how long a point is.
fn curve(algorithm: &str) -> Option<(&'static str, usize)> {
    let name = algorithm.strip_prefix("ecdsa-sha2-")?;
    CURVES.into_iter().find(|(curve, _)| *curve == name)
}

fn check_algorithm(algorithm: &str, blob: &str, rest: &[&str]) -> Result<(), Malformed> {
    if is_known(algorithm) {
        return Ok(());
    }
    let why = match algorithm {
        "ssh-dss" => "is a DSA key, which OpenSSH no longer accepts; make another with `ssh-keygen -t ed25519`",
        _ if algorithm.contains("-cert-") => "is a certificate; give the public key that it certifies",
        _ if is_known(blob) || rest.iter().any(|word| is_known(word)) => "has options before the key; leave them out",
        _ => "is not an SSH public key, such as ssh-ed25519 AAAAC3… bob@laptop",
    };
    Err(Malformed::new(why))
}

/// The fields of a key or of a signature, each after its length.
pub(super) struct Fields<'b>(pub(super) &'b [u8]);

impl<'b> Fields<'b> {
    pub(super) fn next(&mut self) -> Option<&'b [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        Some(field)
    }

    /// How many bits a positive number has. None if it is not in its shortest form: sshd would know the key by another
    /// fingerprint.
    fn bits(&mut self) -> Option<usize> {
        let field = self.next()?;
        let number = field.strip_prefix(&[0]).unwrap_or(field);
        let first = *number.first()?;
        let is_shortest = if number.len() < field.len() { first >= 0x80 } else { (1..0x80).contains(&first) };
        is_shortest.then(|| number.len() * 8 - first.leading_zeros() as usize)
    }

    fn is_point(&mut self, curve: &str, length: usize) -> Option<bool> {
        let named = self.next()? == curve.as_bytes();
        let point = self.next()?;
        Some(named && point.len() == length && point[0] == 4)
    }

    /// The last field of a key in a security key.
    fn is_application(&mut self) -> Option<bool> {
        Some(self.next()?.starts_with(b"ssh:"))
    }
}

/// Checks that a key is whole, and has nothing after it. None: it is not, or does not. Err: it is too short to be safe.
fn check_blob(algorithm: &str, bytes: &[u8]) -> Option<Result<(), Malformed>> {
    let mut fields = Fields(bytes);
    let mut safe = Ok(());
    let is_named = fields.next()? == algorithm.as_bytes();
    let is_key = match algorithm {
        ED25519 => fields.next()?.len() == 32,
        SK_ED25519 => fields.next()?.len() == 32 && fields.is_application()?,
        SK_ECDSA => fields.is_point(CURVES[0].0, CURVES[0].1)? && fields.is_application()?,
        RSA => {
            fields.bits()?;
            let bits = fields.bits()?;
            if !RSA_BITS.contains(&bits) {
                let (least, most) = (RSA_BITS.start(), RSA_BITS.end());
                safe = Err(Malformed::new(format!("is an RSA key of {bits} bits; it has to have {least} to {most}")));
            }
            true
        }
        _ => {
            let (curve, length) = curve(algorithm)?;
            fields.is_point(curve, length)?
        }
    };
    (is_named && is_key && fields.0.is_empty()).then_some(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLES: [&str; 3] = [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILOGgAXUmcqZPlb7t8C0uPRWLCWHWLRfnRxcwSqkBO7j",
        "ecdsa-sha2-nistp256 \
         AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=",
        "sk-ssh-ed25519@openssh.com \
         AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAICFo/k5LU8863u66YC9eUO2170QduohPURkQnbLa/dczAAAABHNzaDo=",
    ];

    fn field(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn rsa(exponent: &[u8], modulus: &[u8]) -> String {
        let blob = [field(b"ssh-rsa"), field(exponent), field(modulus)].concat();
        format!("ssh-rsa {}", STANDARD.encode(blob))
    }

    #[test]
    fn whole_keys_are_read() {
        for key in EXAMPLES {
            assert_eq!(key.parse::<SshKey>().unwrap().as_str(), key);
            let read: SshKey = format!("  {}\t bob@laptop   at  home\n", key.replace(' ', "  ")).parse().unwrap();
            assert_eq!(read.as_str(), format!("{key} bob@laptop at home"));
            assert_eq!(read.without_comment(), key);
        }
        let modulus = [&[0, 0x80], &[7; 255][..]].concat();
        rsa(&[1, 0, 1], &modulus).parse::<SshKey>().unwrap();
    }

    #[test]
    fn what_is_no_whole_key_is_refused() {
        let [key, ..] = EXAMPLES;
        let blob = key.split(' ').nth(1).unwrap();
        let whole = STANDARD.decode(blob).unwrap();
        let with = |bytes: &[u8]| format!("ssh-ed25519 {}", STANDARD.encode(bytes));
        let modulus = [&[0, 0x80], &[7; 255][..]].concat();
        for (text, why) in [
            (String::new(), "is not an SSH public key"),
            ("ssh-ed25519".to_owned(), "is not a whole ssh-ed25519 key"),
            (blob.to_owned(), "is not an SSH public key"),
            ("ssh-dss AAAAB3NzaC1kc3MAAACB".to_owned(), "DSA"),
            (format!("ssh-ed448 {blob}"), "is not an SSH public key"),
            (format!("ssh-rsa {blob}"), "is not a whole ssh-rsa key"),
            (format!("ssh-ed25519-cert-v01@openssh.com {blob}"), "is a certificate"),
            (format!("no-pty {key}"), "has options"),
            (format!("command=\"id\" {key}"), "has options"),
            (format!("from=\"a b\",no-pty {key}"), "has options"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc".to_owned(), "is a private key"),
            (format!("{key}\n{key}"), "is not one line"),
            (format!("{key} \u{202e}bob"), "is not one line"),
            (format!("{key} {}", "x".repeat(LONGEST)), "is not one line"),
            (format!("{key}="), "is not a whole"),
            (with(&whole[..50]), "is not a whole"),
            (with(&[&whole[..], b"x"].concat()), "is not a whole"),
            (with(b"\xff\xff\xff\xff"), "is not a whole"),
            (rsa(&[1, 0, 1], &modulus[..129]), "1024 bits"),
            // The same key in another form would have another fingerprint.
            (rsa(&[1, 0, 1], &[&[0], &modulus[..]].concat()), "is not a whole"),
            (rsa(&[0, 1, 0, 1], &modulus), "is not a whole"),
            (rsa(&[1, 0, 1], &modulus[1..]), "is not a whole"),
            (rsa(&[], &modulus), "is not a whole"),
        ] {
            let refused = text.parse::<SshKey>().unwrap_err().to_string();
            assert!(refused.contains(why), "{text:?}: {refused}");
        }
    }

    #[test]
    fn a_line_of_the_longest_length_is_read() {
        let [key, ..] = EXAMPLES;
        let comment = "x".repeat(LONGEST - key.len() - 1);
        format!("{key} {comment}").parse::<SshKey>().unwrap();
        assert!(format!("{key} {comment}x").parse::<SshKey>().is_err());
    }

    #[test]
    fn the_bits_of_a_number_do_not_count_its_leading_zeros() {
        let refused = rsa(&[1, 0, 1], &[&[0x40], &[7; 127][..]].concat()).parse::<SshKey>().unwrap_err().to_string();
        assert!(refused.contains("1023 bits"), "{refused}");
    }

    #[test]
    fn a_point_is_whole_and_of_its_curve() {
        let point = [&[4], &[7; 64][..]].concat();
        let key = |curve: &str, point: &[u8]| {
            let blob = [field(b"ecdsa-sha2-nistp256"), field(curve.as_bytes()), field(point)].concat();
            format!("ecdsa-sha2-nistp256 {}", STANDARD.encode(blob)).parse::<SshKey>()
        };
        key("nistp256", &point).unwrap();
        assert!(key("nistp384", &point).is_err(), "of another curve");
        assert!(key("nistp256", &point[..64]).is_err(), "cut off");
        assert!(key("nistp256", &[&[2], &[7; 64][..]].concat()).is_err(), "compressed");
        assert!(key("nistp256", &[]).is_err(), "no point");
    }
}
