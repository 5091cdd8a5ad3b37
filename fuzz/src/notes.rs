//! Signed notes, checkpoints, keys, and what a witness is asked.

use access::domain::merkle::{Tree, consistency, inclusion, is_consistent, leaf};
use access::domain::note::{KeyUse, Note, NoteKey, NoteSignature, SigningKey, TreeHead, WitnessRequest};

use super::reads_back;

pub fn check(data: &[u8]) {
    trees(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let key = reads_back::<NoteKey>(text.trim());
    reads_back::<NoteSignature>(text);
    if let Ok(secret) = text.parse::<SigningKey>() {
        let again: SigningKey = secret.secret_text().parse().unwrap();
        assert_eq!(again.public(), secret.public());
        let note = Note { text: "a\n".to_owned(), signatures: vec![secret.sign("a\n")] };
        assert_eq!(secret.public().has_signed(&note), Some(secret.public().signs == KeyUse::Checkpoint));
    }
    if let Some(note) = reads_back::<Note>(text) {
        assert_eq!(note.to_string(), text, "a note is kept byte for byte, since others verify it");
        if let Ok(head) = TreeHead::of(&note) {
            assert!(note.text.starts_with(&head.text()), "what is signed is what is read");
        }
        // Nobody has the key of these 32 bytes, so nobody signed with it.
        let stranger = SigningKey::new("stranger", KeyUse::Checkpoint, [7; 32]).unwrap();
        assert_ne!(stranger.public().has_signed(&note), Some(true));
        if let Some(key) = key {
            key.has_signed(&note);
        }
    }
    if let Some(request) = reads_back::<WitnessRequest>(text) {
        let (old, head) = (request.old, &request.head);
        if old != head.size && old != 0 {
            is_consistent(old, &leaf(b"another"), head.size, &head.root, &request.proof);
        }
    }
}

/// A proof shows that one tree begins another only if it does. The first two bytes say how large they are, the third which
/// bit of the proof is turned over.
fn trees(data: &[u8]) {
    let Some(([size, old, bit], _)) = data.split_first_chunk() else { return };
    let size = u64::from(*size) % 40 + 1;
    let old = u64::from(*old) % size + 1;
    let tree = |range: std::ops::Range<u64>| {
        let mut tree = Tree::default();
        range.for_each(|number| tree.push(leaf(&number.to_be_bytes())));
        tree.root()
    };
    let mut proof: Vec<_> = consistency(old, size).into_iter().map(tree).collect();
    let (old_root, root) = (tree(0..old), tree(0..size));
    assert!(is_consistent(old, &old_root, size, &root, &proof), "{old} {size}");
    assert!(inclusion(old - 1, size).len() <= 6);
    if old < size {
        assert!(!is_consistent(old, &tree(1..old + 1), size, &root, &proof), "another tree of {old}");
        let turned = usize::from(*bit) % (proof.len() * 256);
        proof[turned / 256][turned % 256 / 8] ^= 1 << (turned % 8);
        assert!(!is_consistent(old, &old_root, size, &root, &proof), "another proof from {old} to {size}");
    }
}
