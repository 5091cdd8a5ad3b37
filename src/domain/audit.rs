//! The chain that binds the audit log together.
//!
//! Each entry's hash is SHA-256 over the hash before it and the entry's stored bytes, so no entry can be
//! changed, dropped, added or moved without changing every hash that follows. What it can't show: a rewrite of
//! the whole chain by somebody who may write the file; a checkpoint kept elsewhere shows that.

use sha2::{Digest, Sha256};

pub type Hash = [u8; 32];

/// The hash before the first entry.
pub const GENESIS: Hash = [0; 32];

/// An entry's place in a log: its number, and its hash, which covers all entries before it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPlace {
    pub seq: i64,
    pub hash: Hash,
}

impl LogPlace {
    /// The place before the first entry.
    pub const START: LogPlace = LogPlace { seq: 0, hash: GENESIS };

    /// The place after an entry with these stored bytes.
    pub fn then(&self, body: &[u8]) -> LogPlace {
        LogPlace { seq: self.seq + 1, hash: link(&self.hash, body) }
    }
}

/// The hash of an entry with these stored bytes, after one with hash `previous`.
pub fn link(previous: &Hash, body: &[u8]) -> Hash {
    Sha256::new().chain_update(previous).chain_update(body).finalize().into()
}

/// A hash as people and JSON see it: 64 hexadecimal digits.
pub fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_depends_on_both() {
        let first = link(&GENESIS, b"one");
        assert_ne!(link(&first, b"two"), link(&GENESIS, b"two"));
        assert_ne!(link(&first, b"two"), link(&first, b"three"));
    }

    /// Any program can compute it: `(head -c 32 /dev/zero; printf one) | sha256sum`.
    #[test]
    fn as_sha256sum_computes_it() {
        assert_eq!(hex(&link(&GENESIS, b"one")), "4e233ba6ac7032d3894ecea5974fd96176e564b024af45747eb46357af8d2401");
    }
}
