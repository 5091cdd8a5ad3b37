//! Signatures by SSH keys, as `ssh-keygen -Y sign` makes them (PROTOCOL.sshsig of OpenSSH).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use sha2::{Digest, Sha256, Sha512};

use super::ssh_key::{ED25519, Fields, KeyFingerprint, RSA, SK_ECDSA, SK_ED25519, SshKey};
use super::{Malformed, checked_string};

/// A signature, in Base64 without its frame. It is whole, but not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSignature(String);
checked_string!(SshSignature);

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// How many digits of Base64 ssh-keygen writes in a line.
const LINE: usize = 70;
/// The longest text of a signature, in bytes. With the largest key of RSA it takes 5,700.
const LONGEST: usize = 8192;
/// The longest key of RSA that can be verified, in bytes: 8,192 bits, and what is around them.
const LONGEST_RSA: usize = 8192 / 8 + 64;
const MAGIC: &[u8] = b"SSHSIG";
const VERSION: [u8; 4] = [0, 0, 0, 1];
const ECDSA_256: &str = "ecdsa-sha2-nistp256";
const ECDSA_384: &str = "ecdsa-sha2-nistp384";
/// The flag of a security key: somebody touched it.
const TOUCHED: u8 = 1;

/// The types of keys whose signatures can be verified.
pub const ALGORITHMS: [&str; 6] = [ED25519, SK_ED25519, SK_ECDSA, ECDSA_256, ECDSA_384, RSA];

/// Why a signature is not one of this text by one of these keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureFault {
    /// It is for another purpose.
    Namespace(String),
    /// None of the keys made it.
    Key(KeyFingerprint),
    /// No key of this type can be verified.
    Algorithm(String),
    /// It was made by a security key that nobody touched.
    Untouched,
    /// It is of another text, or was changed.
    Text,
}

impl fmt::Display for SignatureFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignatureFault::Namespace(namespace) => write!(f, "it was made for the namespace {namespace:?}"),
            SignatureFault::Key(key) => write!(f, "its key {key} is not one of theirs"),
            SignatureFault::Algorithm(algorithm) => write!(f, "signatures of {algorithm} keys can't be verified"),
            SignatureFault::Untouched => f.write_str("its security key was not touched"),
            SignatureFault::Text => f.write_str("it does not sign these terms"),
        }
    }
}

/// The parts of a signature.
struct Parts<'b> {
    key: &'b [u8],
    namespace: &'b [u8],
    reserved: &'b [u8],
    hash: &'b [u8],
    signature: &'b [u8],
}

fn parts(bytes: &[u8]) -> Option<Parts<'_>> {
    let mut fields = Fields(bytes.strip_prefix(MAGIC)?.strip_prefix(&VERSION)?);
    let parts = Parts {
        key: fields.next()?,
        namespace: fields.next()?,
        reserved: fields.next()?,
        hash: fields.next()?,
        signature: fields.next()?,
    };
    let is_known_hash = [b"sha256", b"sha512"].iter().any(|known| parts.hash == *known);
    (fields.0.is_empty() && is_known_hash && std::str::from_utf8(parts.namespace).is_ok()).then_some(parts)
}

/// One field, after its length.
fn field(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

impl SshSignature {
    /// As ssh-keygen writes and reads it.
    pub fn armored(&self) -> String {
        let digits: Vec<char> = self.0.chars().collect();
        let lines: String = digits.chunks(LINE).map(|line| line.iter().chain([&'\n']).collect::<String>()).collect();
        format!("{BEGIN}\n{lines}{END}\n")
    }

    fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.0).unwrap_or_default()
    }

    /// The key that it says made it.
    pub fn key(&self) -> KeyFingerprint {
        KeyFingerprint::of(parts(&self.bytes()).map_or(&[], |parts| parts.key))
    }

    /// Whether one of these keys signed this text, for this purpose.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k SshKey>,
        namespace: &str,
        text: &str,
    ) -> Result<(), SignatureFault> {
        let bytes = self.bytes();
        let parts = parts(&bytes).ok_or(SignatureFault::Text)?;
        if parts.namespace != namespace.as_bytes() {
            return Err(SignatureFault::Namespace(String::from_utf8_lossy(parts.namespace).into_owned()));
        }
        let blob = STANDARD.encode(parts.key);
        let key = keys.into_iter().find(|key| key.blob() == blob);
        let key = key.ok_or_else(|| SignatureFault::Key(self.key()))?;
        let digest = match parts.hash {
            b"sha256" => Sha256::digest(text).to_vec(),
            _ => Sha512::digest(text).to_vec(),
        };
        let signed = [MAGIC, &field(parts.namespace), &field(parts.reserved), &field(parts.hash), &field(&digest)];
        check(key.algorithm(), parts.key, parts.signature, &signed.concat())
    }
}

impl FromStr for SshSignature {
    type Err = Malformed;

    /// With its frame or without.
    fn from_str(text: &str) -> Result<SshSignature, Malformed> {
        let wrong = || Malformed::new("is not an SSH signature, as `ssh-keygen -Y sign` makes one");
        if text.len() > LONGEST {
            return Err(wrong());
        }
        let text = text.trim();
        let digits = match text.strip_prefix(BEGIN) {
            Some(framed) => framed.strip_suffix(END).ok_or_else(wrong)?.replace(['\r', '\n'], ""),
            None => text.to_owned(),
        };
        let bytes = STANDARD.decode(&digits).map_err(|_| wrong())?;
        parts(&bytes).map(|_| SshSignature(digits)).ok_or_else(wrong)
    }
}

/// Checks a signature of this text by this key, both as SSH has them.
fn check(algorithm: &str, key: &[u8], signature: &[u8], text: &[u8]) -> Result<(), SignatureFault> {
    let malformed = SignatureFault::Text;
    let mut signature = Fields(signature);
    let made_by = signature.next().ok_or(malformed.clone())?;
    let bytes = signature.next().ok_or(malformed.clone())?;
    let rest = signature.0;
    let mut key = Fields(key);
    let _ = key.next();
    if algorithm == RSA && key.0.len() > LONGEST_RSA {
        return Err(SignatureFault::Algorithm(format!("{RSA} (of more than 8192 bits)")));
    }
    let is_of = |name: &str| made_by == name.as_bytes();
    let verified = match algorithm {
        ED25519 if is_of(ED25519) && rest.is_empty() => {
            key.next().is_some_and(|key| is_signed(&ring::signature::ED25519, key, text, bytes))
        }
        ECDSA_256 if is_of(ECDSA_256) && rest.is_empty() => {
            ecdsa::<32>(&ECDSA_P256_SHA256_FIXED, &mut key, text, bytes)
        }
        ECDSA_384 if is_of(ECDSA_384) && rest.is_empty() => {
            ecdsa::<48>(&ECDSA_P384_SHA384_FIXED, &mut key, text, bytes)
        }
        RSA if is_of("rsa-sha2-512") && rest.is_empty() => rsa(&RSA_PKCS1_2048_8192_SHA512, &mut key, text, bytes),
        RSA if is_of("rsa-sha2-256") && rest.is_empty() => rsa(&RSA_PKCS1_2048_8192_SHA256, &mut key, text, bytes),
        SK_ED25519 | SK_ECDSA if is_of(algorithm) => {
            // Its flags, and the count of its signatures.
            let &[flags, _, _, _, _] = rest else { return Err(malformed) };
            let verified = by_security_key(algorithm, &mut key, text, bytes, rest).unwrap_or(false);
            if verified && flags & TOUCHED == 0 {
                return Err(SignatureFault::Untouched);
            }
            verified
        }
        known if ALGORITHMS.contains(&known) => false,
        other => return Err(SignatureFault::Algorithm(other.to_owned())),
    };
    if verified { Ok(()) } else { Err(malformed) }
}

fn is_signed(how: &'static dyn VerificationAlgorithm, key: &[u8], text: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(how, key).verify(text, signature).is_ok()
}

/// A security key signs the hash of its application, the flags and the count, and the hash of the text.
fn by_security_key(algorithm: &str, key: &mut Fields<'_>, text: &[u8], signature: &[u8], rest: &[u8]) -> Option<bool> {
    let curve = if algorithm == SK_ECDSA { Some(key.next()?) } else { None };
    let (point, application) = (key.next()?, key.next()?);
    let signed = [&Sha256::digest(application)[..], rest, &Sha256::digest(text)[..]].concat();
    Some(match curve {
        None => is_signed(&ring::signature::ED25519, point, &signed, signature),
        Some(_) => is_signed(&ECDSA_P256_SHA256_FIXED, point, &signed, &fixed::<32>(signature)?),
    })
}

fn ecdsa<const N: usize>(
    how: &'static dyn VerificationAlgorithm,
    key: &mut Fields<'_>,
    text: &[u8],
    signature: &[u8],
) -> bool {
    let _curve = key.next();
    let (point, signature) = (key.next(), fixed::<N>(signature));
    point.zip(signature).is_some_and(|(point, signature)| is_signed(how, point, text, &signature))
}

/// The two numbers of a signature of ECDSA, each with N bytes.
fn fixed<const N: usize>(signature: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Fields(signature);
    let mut fixed = Vec::new();
    for _ in 0..2 {
        let number = fields.next()?;
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        fixed.resize(fixed.len() + N.checked_sub(number.len())?, 0);
        fixed.extend(number);
    }
    fields.0.is_empty().then_some(fixed)
}

fn rsa(how: &'static RsaParameters, key: &mut Fields<'_>, text: &[u8], signature: &[u8]) -> bool {
    let mut number = || key.next().map(|number| number.strip_prefix(&[0]).unwrap_or(number));
    let (Some(e), Some(n)) = (number(), number()) else { return false };
    RsaPublicKeyComponents { n, e }.verify(how, text, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

    use super::*;

    #[test]
    fn numbers_of_ecdsa_get_the_length_that_they_have_lost_or_none() {
        let both = |r: &[u8], s: &[u8]| fixed::<4>(&[field(r), field(s)].concat());
        assert_eq!(both(&[1, 2, 3, 4], &[7]), Some(vec![1, 2, 3, 4, 0, 0, 0, 7]));
        assert_eq!(both(&[0, 0x82, 3, 4, 5], &[]), Some(vec![0x82, 3, 4, 5, 0, 0, 0, 0]));
        assert_eq!(both(&[1, 2, 3, 4, 5], &[7]), None);
        assert_eq!(fixed::<4>(&field(&[1])), None);
        assert_eq!(fixed::<4>(&[field(&[1]), field(&[1]), field(&[1])].concat()), None);
    }

    #[test]
    fn a_signature_is_read_with_its_frame_and_written_with_it() {
        let inner = [field(b"ssh-ed25519"), field(&[7; 64])].concat();
        let parts = [field(b"key"), field(b"ns"), field(b""), field(b"sha512"), field(&inner)].concat();
        let bytes = [MAGIC, &VERSION, &parts].concat();
        let signature: SshSignature = STANDARD.encode(&bytes).parse().unwrap();
        let armored = signature.armored();
        assert!(armored.lines().all(|line| line.len() <= LINE));
        assert_eq!(armored.replace('\n', "\r\n").parse(), Ok(signature));
        let other_hash = [field(b"key"), field(b"ns"), field(b""), field(b"sha1"), field(&inner)].concat();
        assert!(STANDARD.encode([MAGIC, &VERSION, &other_hash].concat()).parse::<SshSignature>().is_err());
    }

    /// By keys of each type. All sign `grant 7` for `access-test`; the last is of RSA with SHA-256, which OpenSSL made.
    const SIGNATURES: &str = include_str!("../../tests/fixtures/ssh-signatures");
    const NAMESPACE: &str = "access-test";

    /// The same with another signature inside.
    fn with_inner(signature: &SshSignature, inner: &[u8]) -> SshSignature {
        let bytes = signature.bytes();
        let Parts { key, namespace, reserved, hash, .. } = parts(&bytes).unwrap();
        let fields = [key, namespace, reserved, hash, inner].map(field).concat();
        SshSignature(STANDARD.encode([MAGIC, &VERSION, &fields].concat()))
    }

    #[test]
    fn a_signature_of_each_type_signs_its_text_and_no_other() {
        for line in SIGNATURES.lines() {
            let signature: SshSignature = line.parse().unwrap();
            let bytes = signature.bytes();
            let Parts { key, signature: inner, .. } = parts(&bytes).unwrap();
            let algorithm = std::str::from_utf8(Fields(key).next().unwrap()).unwrap();
            let key: SshKey = format!("{algorithm} {}", STANDARD.encode(key)).parse().unwrap();
            let verify = |signature: &SshSignature, text| signature.verify([&key], NAMESPACE, text);
            assert_eq!(verify(&signature, "grant 7"), Ok(()), "{algorithm}");
            assert_eq!(verify(&signature, "grant 8"), Err(SignatureFault::Text), "{algorithm}");
            let mut fields = Fields(inner);
            let (made_by, number) = (fields.next().unwrap(), fields.next().unwrap());
            for inner in [
                [field(b"ssh-dss"), field(number)].concat(),
                [field(made_by), field(number), vec![7]].concat(),
                [field(made_by), field(&number[1..])].concat(),
                field(made_by),
            ] {
                assert_eq!(
                    verify(&with_inner(&signature, &inner), "grant 7"),
                    Err(SignatureFault::Text),
                    "{algorithm}"
                );
            }
        }
    }

    #[test]
    fn the_longest_rsa_key_is_tried_and_no_longer_one() {
        let signature = [field(b"rsa-sha2-512"), field(&[7; 256])].concat();
        let verify = |longer: usize| {
            let key = [field(RSA.as_bytes()), field(&[1, 0, 1]), field(&vec![7; LONGEST_RSA - 11 + longer])].concat();
            check(RSA, &key, &signature, b"text")
        };
        assert_eq!(verify(0), Err(SignatureFault::Text));
        assert!(matches!(verify(1), Err(SignatureFault::Algorithm(_))));
    }

    #[test]
    fn a_text_of_the_longest_length_is_read_and_no_longer_one() {
        let line = SIGNATURES.lines().next().unwrap();
        let padded = |length: usize| format!("{line:length$}").parse::<SshSignature>();
        assert!(padded(LONGEST).is_ok());
        assert!(padded(LONGEST + 1).is_err());
    }

    #[test]
    fn a_security_key_signs_its_text_and_no_other_and_only_when_it_is_touched() {
        let random = SystemRandom::new();
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let ecdsa = EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).unwrap();
        let (point, ed25519_point) = (ecdsa.public_key().as_ref().to_vec(), ed25519.public_key().as_ref().to_vec());
        type Signs = Box<dyn Fn(&[u8]) -> Vec<u8>>;
        let sign_ed25519: Signs = Box::new(move |text| ed25519.sign(text).as_ref().to_vec());
        let sign_ecdsa: Signs = Box::new(move |text| {
            let numbers = ecdsa.sign(&SystemRandom::new(), text).unwrap();
            numbers.as_ref().chunks(32).flat_map(|number| field(&[&[0], number].concat())).collect()
        });
        for (algorithm, key, sign) in [
            (SK_ED25519, field(&ed25519_point), sign_ed25519),
            (SK_ECDSA, [field(b"nistp256"), field(&point)].concat(), sign_ecdsa),
        ] {
            let key = [field(algorithm.as_bytes()), key, field(b"ssh:")].concat();
            let verify = |named: &str, flags: u8, text: &str| {
                let rest = [flags, 0, 0, 0, 9];
                let signed = [&Sha256::digest(b"ssh:")[..], &rest, &Sha256::digest(b"grant 7")[..]].concat();
                let signature = [field(named.as_bytes()), field(&sign(&signed)), rest.to_vec()].concat();
                check(algorithm, &key, &signature, text.as_bytes())
            };
            assert_eq!(verify(algorithm, TOUCHED, "grant 7"), Ok(()), "{algorithm}");
            assert_eq!(verify(algorithm, 0, "grant 7"), Err(SignatureFault::Untouched), "{algorithm}");
            assert_eq!(verify(algorithm, TOUCHED, "grant 8"), Err(SignatureFault::Text), "{algorithm}");
            assert_eq!(verify(algorithm, 0, "grant 8"), Err(SignatureFault::Text), "{algorithm}");
            assert_eq!(verify(ED25519, TOUCHED, "grant 7"), Err(SignatureFault::Text), "{algorithm}");
        }
    }
}
