// Verifies checkpoints and proofs by the packages of Go's checksum database, which nobody here wrote.
//
//	verify KEYS checkpoint NOTE         prints the size and the root
//	verify KEYS entry PROOF             prints the entry
//	verify KEYS consistency OLD PROOF
//	verify KEYS export LOG NOTE
//
// KEYS: that of the log, then those of witnesses, with commas between them. All must have signed the (new) checkpoint.
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A witness's key. The package has only the keys of logs.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }
func (w witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), msg)
	return ed25519.Verify(w.key, []byte(signed), sig[8:])
}

func verifier(key string) note.Verifier {
	parts := strings.SplitN(key, "+", 3)
	public, err := base64.StdEncoding.DecodeString(parts[2])
	check(err)
	if public[0] != 4 {
		verifier, err := note.NewVerifier(key)
		check(err)
		return verifier
	}
	hash := sha256.Sum256(append([]byte(parts[0]+"\n"), public...))
	return witness{parts[0], binary.BigEndian.Uint32(hash[:]), public[1:]}
}

func open(text string, keys []string) tlog.Tree {
	var verifiers []note.Verifier
	for _, key := range keys {
		verifiers = append(verifiers, verifier(key))
	}
	opened, err := note.Open([]byte(text), note.VerifierList(verifiers...))
	check(err)
	if len(opened.Sigs) != len(keys) {
		check(errors.New("not everybody signed it"))
	}
	lines := strings.Split(opened.Text, "\n")
	if lines[0] != verifiers[0].Name() {
		check(errors.New("it is another log"))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)
	return tlog.Tree{N: size, Hash: root}
}

func read(path string) string {
	data, err := os.ReadFile(path)
	check(err)
	return string(data)
}

func hashes(lines []string) (proof []tlog.Hash) {
	for _, line := range lines {
		hash, err := tlog.ParseHash(line)
		check(err)
		proof = append(proof, hash)
	}
	return proof
}

func export(path string, tree tlog.Tree) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (found []tlog.Hash, err error) {
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	lines := bufio.NewScanner(strings.NewReader(read(path)))
	lines.Buffer(nil, 1<<24)
	count := int64(0)
	for ; lines.Scan(); count++ {
		var entry struct{ Body string }
		check(json.Unmarshal(lines.Bytes(), &entry))
		more, err := tlog.StoredHashes(count, []byte(entry.Body), reader)
		check(err)
		stored = append(stored, more...)
	}
	if count < tree.N {
		check(errors.New("the log is shorter"))
	}
	root, err := tlog.TreeHash(tree.N, reader)
	check(err)
	if !bytes.Equal(root[:], tree.Hash[:]) {
		check(errors.New("the log is another"))
	}
}

func main() {
	keys, what, files := strings.Split(os.Args[1], ","), os.Args[2], os.Args[3:]
	text := read(files[len(files)-1])
	if what == "checkpoint" || what == "export" {
		tree := open(text, keys)
		if what == "export" {
			export(files[0], tree)
		}
		fmt.Println(tree.N, tree.Hash)
		return
	}
	head, signed, _ := strings.Cut(text, "\n\n")
	tree, lines := open(signed, keys), strings.Split(head, "\n")
	if what == "consistency" {
		old := open(read(files[0]), keys[:1])
		if lines[0] != fmt.Sprintf("old %d", old.N) {
			check(errors.New("it is about another checkpoint"))
		}
		check(tlog.CheckTree(hashes(lines[1:]), tree.N, tree.Hash, old.N, old.Hash))
		return
	}
	body, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	check(err)
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	check(err)
	check(tlog.CheckRecord(hashes(lines[3:]), tree.N, tree.Hash, index, tlog.RecordHash(body)))
	fmt.Println(string(body))
}
