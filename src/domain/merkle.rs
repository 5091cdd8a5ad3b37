//! The Merkle tree of RFC 6962 over the entries of the log. With it, others' tools can check that an entry is in the log
//! (inclusion), and that an earlier log is the beginning of this one (consistency).
//!
//! Nothing is stored: one pass over the leaves computes a tree, in memory for its height.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::audit::Hash;

/// The hash of a leaf: of the stored bytes of an entry.
pub fn leaf(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A tree that grows by one leaf at a time.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    size: u64,
    /// The roots of the complete subtrees, the largest first.
    peaks: Vec<Hash>,
}

impl Tree {
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each trailing one of the size is a complete subtree as large as what was just completed.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev().copied();
        match peaks.next() {
            Some(last) => peaks.fold(last, |right, left| node(&left, &right)),
            None => Sha256::new().finalize().into(),
        }
    }
}

/// The trees of several ranges of leaves, computed in one pass.
pub struct Ranges {
    ranges: Vec<(Range<u64>, Tree)>,
    next: u64,
}

impl Ranges {
    pub fn new(ranges: Vec<Range<u64>>) -> Ranges {
        Ranges { ranges: ranges.into_iter().map(|range| (range, Tree::default())).collect(), next: 0 }
    }

    pub fn push(&mut self, leaf: Hash) {
        for (range, tree) in &mut self.ranges {
            if range.contains(&self.next) {
                tree.push(leaf);
            }
        }
        self.next += 1;
    }

    /// The root of each range, in the order in which they were given.
    pub fn roots(&self) -> Vec<Hash> {
        self.ranges.iter().map(|(_, tree)| tree.root()).collect()
    }
}

/// Where a tree divides: the largest power of two below its size, which is at least 2.
fn middle(within: &Range<u64>) -> u64 {
    within.start + (1 << (within.end - within.start - 1).ilog2())
}

/// The subtrees whose roots prove that the leaf at `index` is in a tree of this size, from the leaf upwards.
pub fn inclusion(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut within, mut proof) = (0..size, Vec::new());
    while within.end - within.start > 1 {
        let middle = middle(&within);
        if index < middle {
            proof.push(middle..within.end);
            within.end = middle;
        } else {
            proof.push(within.start..middle);
            within.start = middle;
        }
    }
    proof.reverse();
    proof
}

/// The subtrees whose roots prove that a tree of `old` leaves is the beginning of one of `size` leaves.
pub fn consistency(old: u64, size: u64) -> Vec<Range<u64>> {
    let (mut within, mut proof) = (0..size, Vec::new());
    if old == 0 {
        return proof;
    }
    while old < within.end {
        let middle = middle(&within);
        if old <= middle {
            proof.push(middle..within.end);
            within.end = middle;
        } else {
            proof.push(within.start..middle);
            within.start = middle;
        }
    }
    // Those who have the root of the old tree know it as a whole.
    if within.start > 0 {
        proof.push(within);
    }
    proof.reverse();
    proof
}

/// Whether the proof shows that a tree of `old` leaves is the beginning of one of `size` leaves (RFC 9162, 2.1.4.2).
pub fn is_consistent(old: u64, old_root: &Hash, size: u64, root: &Hash, proof: &[Hash]) -> bool {
    if old == size {
        return proof.is_empty() && old_root == root;
    }
    if old == 0 || old > size {
        return old == 0 && proof.is_empty();
    }
    // The root of an old tree that is complete is the first hash of the proof, and left out.
    let whole = old.is_power_of_two().then_some(old_root);
    let mut proof = whole.into_iter().chain(proof);
    let Some(first) = proof.next() else { return false };
    let zeros = (old - 1).trailing_ones();
    let (mut old_index, mut index) = ((old - 1) >> zeros, (size - 1) >> zeros);
    let (mut old_hash, mut hash) = (*first, *first);
    for next in proof {
        if index == 0 {
            return false;
        }
        if old_index & 1 == 1 || old_index == index {
            old_hash = node(next, &old_hash);
            hash = node(next, &hash);
            while old_index & 1 == 0 && old_index != 0 {
                old_index >>= 1;
                index >>= 1;
            }
        } else {
            hash = node(&hash, next);
        }
        old_index >>= 1;
        index >>= 1;
    }
    old_hash == *old_root && hash == *root && index == 0
}

#[cfg(test)]
mod tests {
    use super::super::audit::hex;
    use super::*;

    /// The leaves and the roots of Certificate Transparency's own tests.
    const LEAVES: [&[u8]; 8] = [
        b"",
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|index| leaf(&index.to_be_bytes())).collect()
    }

    fn tree(leaves: &[Hash]) -> Tree {
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        tree
    }

    fn roots(leaves: &[Hash], ranges: Vec<Range<u64>>) -> Vec<Hash> {
        let mut computed = Ranges::new(ranges);
        leaves.iter().for_each(|leaf| computed.push(*leaf));
        computed.roots()
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let hashes: Vec<Hash> = LEAVES.iter().map(|bytes| leaf(bytes)).collect();
        for (size, root) in ROOTS.iter().enumerate() {
            assert_eq!(hex(&tree(&hashes[..size]).root()), *root, "{size}");
        }
        // Its proofs: of the first leaf of eight, and of six of eight.
        let proof = |ranges| roots(&hashes, ranges).iter().map(|hash| hex(hash)).collect::<Vec<_>>();
        assert_eq!(
            proof(inclusion(0, 8)),
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        assert_eq!(
            proof(consistency(6, 8)),
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
    }

    #[test]
    fn every_earlier_tree_is_consistent_and_no_other_is() {
        let leaves = leaves(33);
        for size in 1..=33_u64 {
            let root = tree(&leaves[..size as usize]).root();
            for old in 1..=size {
                let old_root = tree(&leaves[..old as usize]).root();
                let proof = roots(&leaves[..size as usize], consistency(old, size));
                assert!(is_consistent(old, &old_root, size, &root, &proof), "{old} of {size}");
                assert!(!is_consistent(old, &leaf(b"fork"), size, &root, &proof), "{old} of {size}");
                assert!(!is_consistent(old, &old_root, size, &leaf(b"fork"), &proof), "{old} of {size}");
                assert!(!is_consistent(size + 1, &old_root, size, &root, &proof), "{old} of {size}");
                let longer: Vec<Hash> = proof.iter().copied().chain([root]).collect();
                assert!(!is_consistent(old, &old_root, size, &root, &longer), "{old} of {size}");
                if let [_, shorter @ ..] = proof.as_slice() {
                    assert!(!is_consistent(old, &old_root, size, &root, shorter), "{old} of {size}");
                }
            }
        }
    }

    #[test]
    fn a_path_leads_from_each_leaf_to_the_root() {
        let leaves = leaves(21);
        for size in 1..=21_u64 {
            let root = tree(&leaves[..size as usize]).root();
            for index in 0..size {
                let ranges = inclusion(index, size);
                let siblings = roots(&leaves, ranges.clone());
                let up = |hash: Hash, (range, sibling): (&Range<u64>, &Hash)| {
                    if range.start > index { node(&hash, sibling) } else { node(sibling, &hash) }
                };
                let reached = ranges.iter().zip(&siblings).fold(leaves[index as usize], up);
                assert_eq!(reached, root, "{index} of {size}");
            }
        }
    }
}
