//! Signed notes and checkpoints, in the formats of C2SP: `signed-note`, `tlog-checkpoint` and `tlog-cosignature`. Others'
//! tools read them. Ed25519 only.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use super::audit::{Hash, hex};
use super::time::Timestamp;
use super::{Malformed, read_by_parsing};

/// The most signatures of a note that are read.
const MOST_SIGNATURES: usize = 64;
const DASH: &str = "\u{2014} ";

/// What a key signs. The numbers are those of `signed-note`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// The checkpoints of a log.
    Checkpoint = 1,
    /// Checkpoints that a witness has compared with those it saw before.
    Cosignature = 4,
}

/// A public key, with the name of what it signs for. As text: `NAME+ID+KEY`, as Go's `note` package has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    pub name: String,
    pub signs: KeyUse,
    key: [u8; 32],
}

read_by_parsing!(NoteKey);

/// Tells keys of one name apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl NoteKey {
    pub fn id(&self) -> KeyId {
        let name = Sha256::new().chain_update(&self.name).chain_update([b'\n', self.signs as u8]);
        let hash: Hash = name.chain_update(self.key).finalize().into();
        KeyId([hash[0], hash[1], hash[2], hash[3]])
    }

    /// Whether this key signed the note. None: it has no signature of this key.
    pub fn has_signed(&self, note: &Note) -> Option<bool> {
        let mine = |signature: &&NoteSignature| signature.name == self.name && signature.key == self.id();
        note.signatures.iter().find(mine).map(|signature| {
            let (message, bytes) = match (self.signs, signature.bytes.split_first_chunk()) {
                (KeyUse::Checkpoint, _) => (note.text.clone(), signature.bytes.as_slice()),
                (KeyUse::Cosignature, Some((time, bytes))) => (cosigned(&note.text, u64::from_be_bytes(*time)), bytes),
                (KeyUse::Cosignature, None) => return false,
            };
            UnparsedPublicKey::new(&ED25519, self.key).verify(message.as_bytes(), bytes).is_ok()
        })
    }
}

/// What a cosignature signs.
fn cosigned(text: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{text}")
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.signs as u8];
        key.extend(self.key);
        write!(f, "{}+{}+{}", self.name, self.id(), STANDARD.encode(key))
    }
}

impl serde::Serialize for NoteKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for NoteKey {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<NoteKey, Malformed> {
        let wrong = || Malformed::new("a key is NAME+ID+KEY, as `access audit key` prints it");
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(wrong()) };
        let key = STANDARD.decode(key).map_err(|_| wrong())?;
        let (Some(signs), Ok(bytes)) =
            (key.first().copied().and_then(key_use), <[u8; 32]>::try_from(key.get(1..).unwrap_or_default()))
        else {
            return Err(wrong());
        };
        let key = NoteKey { name: key_name(name)?, signs, key: bytes };
        if key.id().to_string() == id { Ok(key) } else { Err(wrong()) }
    }
}

fn key_use(number: u8) -> Option<KeyUse> {
    [KeyUse::Checkpoint, KeyUse::Cosignature].into_iter().find(|signs| *signs as u8 == number)
}

fn key_name(name: &str) -> Result<String, Malformed> {
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+') {
        return Err(Malformed::new("the name of a key has no spaces and no plus sign"));
    }
    Ok(name.to_owned())
}

/// A private key. As text, which is stored: `PRIVATE+KEY+NAME+ID+SEED`, as Go's `note` package has it.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
    public: NoteKey,
}

impl SigningKey {
    /// `seed`: 32 random bytes.
    pub fn new(name: &str, signs: KeyUse, seed: [u8; 32]) -> Result<SigningKey, Malformed> {
        let wrong = |_| Malformed::new("the private key is not valid");
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(wrong)?;
        let key =
            <[u8; 32]>::try_from(pair.public_key().as_ref()).map_err(|_| Malformed::new("the key has no 32 bytes"))?;
        Ok(SigningKey { pair, seed, public: NoteKey { name: key_name(name)?, signs, key } })
    }

    pub fn public(&self) -> &NoteKey {
        &self.public
    }

    /// The text to store. Secret.
    pub fn secret_text(&self) -> String {
        let mut seed = vec![self.public.signs as u8];
        seed.extend(self.seed);
        format!("PRIVATE+KEY+{}+{}+{}\n", self.public.name, self.public.id(), STANDARD.encode(seed))
    }

    pub fn sign(&self, text: &str) -> NoteSignature {
        self.signature(self.pair.sign(text.as_bytes()).as_ref().to_vec())
    }

    /// Says that this witness has seen the checkpoint, and none of the same log that contradicts it.
    pub fn cosign(&self, text: &str, at: Timestamp) -> NoteSignature {
        let seconds = at.unix().unsigned_abs();
        let mut bytes = seconds.to_be_bytes().to_vec();
        bytes.extend(self.pair.sign(cosigned(text, seconds).as_bytes()).as_ref());
        self.signature(bytes)
    }

    fn signature(&self, bytes: Vec<u8>) -> NoteSignature {
        NoteSignature { name: self.public.name.clone(), key: self.public.id(), bytes }
    }
}

impl FromStr for SigningKey {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<SigningKey, Malformed> {
        let wrong = || Malformed::new("it has no private key");
        let parts: Vec<&str> = text.trim_end().splitn(5, '+').collect();
        let ["PRIVATE", "KEY", name, id, seed] = parts[..] else { return Err(wrong()) };
        let seed = STANDARD.decode(seed).map_err(|_| wrong())?;
        let (Some(signs), Ok(bytes)) =
            (seed.first().copied().and_then(key_use), <[u8; 32]>::try_from(seed.get(1..).unwrap_or_default()))
        else {
            return Err(wrong());
        };
        let key = SigningKey::new(name, signs, bytes)?;
        if key.public.id().to_string() == id { Ok(key) } else { Err(wrong()) }
    }
}

/// A signature of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    pub name: String,
    pub key: KeyId,
    bytes: Vec<u8>,
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.key.0.to_vec();
        bytes.extend(&self.bytes);
        write!(f, "{DASH}{} {}", self.name, STANDARD.encode(bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = Malformed;

    fn from_str(line: &str) -> Result<NoteSignature, Malformed> {
        let wrong = || Malformed::new("one of its signature lines is not valid");
        let (name, bytes) = line.strip_prefix(DASH).and_then(|rest| rest.split_once(' ')).ok_or_else(wrong)?;
        let bytes = STANDARD.decode(bytes).map_err(|_| wrong())?;
        let (key, bytes) = bytes.split_first_chunk().filter(|(_, bytes)| !bytes.is_empty()).ok_or_else(wrong)?;
        Ok(NoteSignature { name: key_name(name)?, key: KeyId(*key), bytes: bytes.to_vec() })
    }
}

/// A text with signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// With the line break at its end.
    pub text: String,
    pub signatures: Vec<NoteSignature>,
}

read_by_parsing!(Note);

impl serde::Serialize for Note {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl FromStr for Note {
    type Err = Malformed;

    fn from_str(note: &str) -> Result<Note, Malformed> {
        let wrong = |why: &str| Malformed::new(format!("it is not a signed note: {why}"));
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(wrong("it has control characters"));
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or_else(|| wrong("it has no signatures"))?;
        let signatures = signatures.strip_suffix('\n').ok_or_else(|| wrong("its last line does not end"))?;
        if signatures.lines().count() > MOST_SIGNATURES {
            return Err(wrong("it has too many signatures"));
        }
        let signatures = signatures.split('\n').map(str::parse).collect::<Result<Vec<NoteSignature>, Malformed>>()?;
        Ok(Note { text: format!("{text}\n"), signatures })
    }
}

/// What a checkpoint says: how many entries the log has, and the root of their tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeHead {
    /// The name of the log.
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

impl TreeHead {
    /// The text of the note.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    pub fn of(note: &Note) -> Result<TreeHead, Malformed> {
        let wrong = || Malformed::new("it is not a checkpoint: its lines are a name, a number and a hash");
        let mut lines = note.text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(wrong());
        };
        let number = size.parse::<u64>().ok().filter(|number| number.to_string() == size);
        match (number, hash(root)) {
            (Some(size), Ok(root)) if !origin.is_empty() => Ok(TreeHead { origin: origin.to_owned(), size, root }),
            _ => Err(wrong()),
        }
    }
}

/// A checkpoint for a witness, with the proof that it continues an earlier one: what C2SP's `tlog-witness` calls a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessRequest {
    /// The size of the earlier tree. 0: the witness has seen none.
    pub old: u64,
    pub proof: Vec<Hash>,
    pub note: Note,
    pub head: TreeHead,
}

impl FromStr for WitnessRequest {
    type Err = Malformed;

    /// A checkpoint alone is a request too: the first one.
    fn from_str(text: &str) -> Result<WitnessRequest, Malformed> {
        let (old, proof, note) = match text.strip_prefix("old ") {
            Some(request) => {
                let (proof, note) = request.split_once("\n\n").ok_or_else(|| Malformed::new("it has no checkpoint"))?;
                let mut lines = proof.split('\n');
                let old = lines.next().and_then(|old| old.parse().ok());
                let old = old.ok_or_else(|| Malformed::new("it does not say the size of the old tree"))?;
                (old, lines.map(hash).collect::<Result<Vec<Hash>, Malformed>>()?, note)
            }
            None => (0, Vec::new(), text),
        };
        let note: Note = note.parse()?;
        let head = TreeHead::of(&note)?;
        Ok(WitnessRequest { old, proof, note, head })
    }
}

impl fmt::Display for WitnessRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", base64(hash)))?;
        write!(f, "\n{}", self.note)
    }
}

/// A hash as proofs and checkpoints have it: in Base64.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads such a hash.
pub fn hash(text: &str) -> Result<Hash, Malformed> {
    let wrong = |_| Malformed::new(format!("{text:?} is not a hash in Base64"));
    Hash::try_from(STANDARD.decode(text).unwrap_or_default().as_slice()).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Go's `note` package: its key, and what it signs with it.
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn the_example_of_go_is_read_signed_and_verified() {
        let (key, secret) = (GO_KEY.parse::<NoteKey>().unwrap(), GO_SECRET.parse::<SigningKey>().unwrap());
        assert_eq!(key.to_string(), GO_KEY);
        assert_eq!(secret.public(), &key);
        assert_eq!(secret.secret_text().trim_end(), GO_SECRET);
        let note: Note = GO_NOTE.parse().unwrap();
        assert_eq!(note.to_string(), GO_NOTE);
        assert_eq!(key.has_signed(&note), Some(true));
        assert_eq!(note.signatures, [secret.sign(&note.text)]);
        let changed = Note { text: note.text.replace("don't", "do"), ..note.clone() };
        assert_eq!(key.has_signed(&changed), Some(false));
        let other = SigningKey::new("PeterNeumann", KeyUse::Checkpoint, [7; 32]).unwrap();
        assert_eq!(other.public().has_signed(&note), None);
    }

    #[test]
    fn a_cosignature_covers_its_time() {
        let witness = SigningKey::new("example.com/witness", KeyUse::Cosignature, [1; 32]).unwrap();
        let head = TreeHead { origin: "access/acme/0123".to_owned(), size: 3, root: [9; 32] };
        let at = Timestamp::from_unix(1_800_000_000).unwrap();
        let note = Note { text: head.text(), signatures: vec![witness.cosign(&head.text(), at)] };
        assert_eq!(TreeHead::of(&note.to_string().parse().unwrap()), Ok(head));
        assert_eq!(witness.public().has_signed(&note), Some(true));
        let mut later = note.clone();
        later.signatures[0].bytes[7] ^= 1;
        assert_eq!(witness.public().has_signed(&later), Some(false));
        later.signatures[0].bytes.truncate(20);
        assert_eq!(witness.public().has_signed(&later), Some(false));
    }

    #[test]
    fn what_is_no_note_or_checkpoint_is_refused() {
        let refused = |text: &str| text.parse::<Note>().unwrap_err().to_string();
        for text in ["", "a\n", "a\n\n", "a\n\nb\n", &GO_NOTE[..GO_NOTE.len() - 1], &GO_NOTE.replace("If", "\tIf")] {
            refused(text);
        }
        let many = format!("a\n\n{}", "\u{2014} a AAAAAAAA\n".repeat(MOST_SIGNATURES + 1));
        assert!(refused(&many).contains("too many"));
        format!("a\n\n{}", "\u{2014} a AAAAAAAA\n".repeat(MOST_SIGNATURES)).parse::<Note>().unwrap();
        assert!(TreeHead::of(&GO_NOTE.parse().unwrap()).is_err());
        let root = base64(&[0; 32]);
        for text in [
            format!("a\n03\n{root}\n"),
            format!("a\n+3\n{root}\n"),
            format!("\n3\n{root}\n"),
            "a\n3\nAAAA\n".to_owned(),
        ] {
            assert!(TreeHead::of(&Note { text: text.clone(), signatures: Vec::new() }).is_err(), "{text}");
        }
        for key in [
            "",
            "a",
            "a+b+c",
            "a+00000000+",
            &GO_KEY.replace("c74f20a3", "c74f20a4"),
            &GO_KEY.replacen("Peter", "P ", 1),
        ] {
            assert!(key.parse::<NoteKey>().is_err(), "{key}");
        }
    }

    #[test]
    fn the_name_of_a_key_is_one_word_without_a_plus_sign() {
        for name in ["", "a b", "a\u{2003}b", "a\u{7f}b", "a+b"] {
            assert!(SigningKey::new(name, KeyUse::Checkpoint, [7; 32]).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_hash_is_written_in_base64_and_read_back() {
        let mut bytes = [7; 32];
        bytes[..3].copy_from_slice(&[0xfb, 0xff, 0xfe]);
        assert!(base64(&bytes).starts_with("+//+BwcH"));
        assert_eq!(hash(&base64(&bytes)), Ok(bytes));
    }
}
