#!/usr/bin/env python3
"""Verifies what access says of its log, without access.

    verify_proof.py [--witness KEY]... KEY entry PROOF             prints the entry that the proof is of
    verify_proof.py [--witness KEY]... KEY consistency OLD PROOF   OLD is the checkpoint that you kept
    verify_proof.py [--witness KEY]... KEY export LOG CHECKPOINT   LOG is of `access audit export --format raw`

KEY is a line of `access audit key` that you got from somebody you trust, not from the file that you verify. With --witness,
that witness must have signed the (new) checkpoint too. Exit 1: it is not proved.

It needs Python 3.9 and the package cryptography. docs/log-format.md has the formats.
"""

import argparse
import base64
import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(data):
    return hashlib.sha256(data).digest()


def leaf(data):
    return sha256(b"\0" + data)


def node(left, right):
    return sha256(b"\1" + left + right)


def middle(size):
    return 1 << (size - 1).bit_length() - 1  # the largest power of two below a size of at least 2


def root_of_entry(hashed, index, size, proof):
    """The root to which the proof leads from a leaf (RFC 6962, 2.1.1)."""
    if size == 1:
        return need(not proof, "the proof is too long") or hashed
    need(proof, "the proof is too short")
    if index < middle(size):
        return node(root_of_entry(hashed, index, middle(size), proof[:-1]), proof[-1])
    return node(proof[-1], root_of_entry(hashed, index - middle(size), size - middle(size), proof[:-1]))


def roots_of_both(old, old_root, size, proof):
    """The roots of the old and the new tree to which the proof leads (RFC 6962, 2.1.2). None: the old tree is known."""
    if old == size:
        need(len(proof) == (old_root is None), "the proof has another length")
        return (old_root, old_root) if old_root else (proof[0], proof[0])
    need(proof, "the proof is too short")
    half = middle(size)
    if old <= half:
        first, second = roots_of_both(old, old_root, half, proof[:-1])
        return first, node(second, proof[-1])
    first, second = roots_of_both(old - half, None, size - half, proof[:-1])
    return node(proof[-1], first), node(proof[-1], second)


def root_of(leaves):
    """The root of a tree of hashed leaves."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else sha256(b"")
    half = middle(len(leaves))
    return node(root_of(leaves[:half]), root_of(leaves[half:]))


def need(true, why):
    if not true:
        sys.exit(f"not proved: {why}")


def is_signed(key, text, signatures):
    """Whether the key, NAME+ID+KEY, signed the text of a note: as a log (1) or as a witness (4)."""
    name, number, coded = key.split("+", 2)
    coded = base64.b64decode(coded)
    kind, public = coded[0], coded[1:]
    need(sha256(f"{name}\n".encode() + coded)[:4].hex() == number, f"{key} is not a key")
    for signature in signatures:
        _, signer, value = signature.split(" ", 2)
        value = base64.b64decode(value)
        if (signer, value[:4].hex()) != (name, number):
            continue
        message, value = text, value[4:]
        if kind == 4:
            message, value = f"cosignature/v1\ntime {int.from_bytes(value[:8], 'big')}\n{text}", value[8:]
        try:
            return Ed25519PublicKey.from_public_bytes(public).verify(value, message.encode()) is None
        except InvalidSignature:
            return False
    return False


def checkpoint(note, keys):
    """The size and the root that a checkpoint states, signed with all keys."""
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    for key in keys:
        need(is_signed(key, text, signatures.splitlines()), f"{key} did not sign the checkpoint")
    origin, size, root = text.split("\n")[:3]
    need(origin == keys[0].split("+")[0], f"the checkpoint is of {origin}")
    return int(size), base64.b64decode(root)


def read(path):
    with open(path, encoding="utf-8", newline="\n") as file:
        return file.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--witness", metavar="KEY", action="append", default=[])
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("what", choices=["entry", "consistency", "export"])
    parser.add_argument("files", metavar="FILE", nargs="+")
    args = parser.parse_args()
    keys = [args.key, *args.witness]

    if args.what == "export":
        size, root = checkpoint(read(args.files[1]), keys)
        bodies = [json.loads(line)["body"].encode() for line in read(args.files[0]).split("\n") if line]
        need(len(bodies) >= size, f"the log has {len(bodies)} entries, and had {size}")
        need(root_of([leaf(body) for body in bodies[:size]]) == root, "the log is not the one of the checkpoint")
        return print(f"the first {size} entries are those of the checkpoint")

    head, _, note = read(args.files[-1]).partition("\n\n")
    size, root = checkpoint(note, keys)
    lines = head.split("\n")
    if args.what == "entry":
        version, extra, index, *proof = lines
        need(version == "c2sp.org/tlog-proof@v1", "it is not a proof of an entry")
        body, index = base64.b64decode(extra.removeprefix("extra ")), int(index.removeprefix("index "))
        need(0 <= index < size, "the entry comes after the checkpoint")
        hashes = [base64.b64decode(line) for line in proof]
        need(root_of_entry(leaf(body), index, size, hashes) == root, "the log of the checkpoint does not have this entry")
        return print(body.decode())

    old, old_root = checkpoint(read(args.files[0]), [args.key])
    need(lines[0] == f"old {old}" and old <= size, "the proof is not about the old checkpoint")
    hashes = [base64.b64decode(line) for line in lines[1:]]
    need(roots_of_both(old, old_root, size, hashes) == (old_root, root), "the log is not a continuation of the old one")
    print(f"the log of {size} entries continues the one of {old}")


main()
