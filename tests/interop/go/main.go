// Command interop answers questions about trees, notes and proofs with implementations that are not ours, so that tests
// can hold ours against them: golang.org/x/mod/sumdb and github.com/transparency-dev/formats.
//
// It reads a JSON array of cases on standard input and writes a JSON array of answers, one per case in order.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"golang.org/x/mod/sumdb/tlog"
)

// Case is one question; Ask says which, the other fields are what it needs. Byte strings are base64.
type Case struct {
	Ask    string   `json:"ask"`
	Leaves [][]byte `json:"leaves"` // leaf data, for "tree" questions
	Index  int64    `json:"index"`
	M      int64    `json:"m"`
	N      int64    `json:"n"`    // tree size
	Leaf   []byte   `json:"leaf"` // leaf hash
	RootM  []byte   `json:"root_m"`
	Root   []byte   `json:"root"`
	Proof  [][]byte `json:"proof"`
	Note   []byte   `json:"note"`
	Text   []byte   `json:"text"`
	Origin string   `json:"origin"`
	Key    string   `json:"key"`       // private key in note form
	Known  []string `json:"known"`     // verifier keys
	Sinks  []string `json:"cosigners"` // verifier keys of cosigners
}

// Answer is what the other implementation says. A refusal is an error's text, not a failure of this program.
type Answer struct {
	Error  string           `json:"error,omitempty"`
	Root   []byte           `json:"root,omitempty"`
	Proof  [][]byte         `json:"proof,omitempty"`
	Text   []byte           `json:"text,omitempty"`
	Note   []byte           `json:"note,omitempty"`
	Names  []string         `json:"names,omitempty"` // whose signatures verified
	Times  map[string]int64 `json:"times,omitempty"` // cosigner to POSIX seconds
	Index  uint64           `json:"index"`
	Size   uint64           `json:"size"`
	Extra  []byte           `json:"extra,omitempty"`
	Others string           `json:"others,omitempty"` // extension lines of a checkpoint
}

var questions = map[string]func(Case) (Answer, error){
	"root":                treeRoot,
	"prove-inclusion":     proveInclusion,
	"prove-consistency":   proveConsistency,
	"inclusion":           checkInclusion,
	"consistency":         checkConsistency,
	"open-note":           openNote,
	"sign-note":           signNote,
	"open-checkpoint":     openCheckpoint,
	"cosign":              cosign,
	"read-tlog-proof":     readTLogProof,
	"write-tlog-proof":    writeTLogProof,
	"tlog-proof-included": tlogProofIncluded,
}

func main() {
	var cases []Case
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		log.Fatalf("cases on standard input: %v", err)
	}
	answers := make([]Answer, 0, len(cases))
	for _, c := range cases {
		question, known := questions[c.Ask]
		if !known {
			log.Fatalf("no question %q", c.Ask)
		}
		answer, err := question(c)
		if err != nil {
			answer = Answer{Error: err.Error()}
		}
		answers = append(answers, answer)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}

// stored keeps the hashes of a tree in the order that tlog gives them.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, 0, len(indexes))
	for _, i := range indexes {
		hashes = append(hashes, s[i])
	}
	return hashes, nil
}

func grow(leaves [][]byte) (stored, error) {
	var s stored
	for i, leaf := range leaves {
		hashes, err := tlog.StoredHashes(int64(i), leaf, s)
		if err != nil {
			return nil, err
		}
		s = append(s, hashes...)
	}
	return s, nil
}

func treeRoot(c Case) (Answer, error) {
	tree, err := grow(c.Leaves)
	if err != nil {
		return Answer{}, err
	}
	root, err := tlog.TreeHash(c.N, tree)
	return Answer{Root: root[:]}, err
}

func proveInclusion(c Case) (Answer, error) {
	tree, err := grow(c.Leaves)
	if err != nil {
		return Answer{}, err
	}
	proof, err := tlog.ProveRecord(c.N, c.Index, tree)
	return Answer{Proof: toBytes(proof)}, err
}

func proveConsistency(c Case) (Answer, error) {
	tree, err := grow(c.Leaves)
	if err != nil {
		return Answer{}, err
	}
	proof, err := tlog.ProveTree(c.N, c.M, tree)
	return Answer{Proof: toBytes(proof)}, err
}

func checkInclusion(c Case) (Answer, error) {
	proof, err := toHashes(append([][]byte{c.Root, c.Leaf}, c.Proof...))
	if err != nil {
		return Answer{}, err
	}
	return Answer{}, tlog.CheckRecord(proof[2:], c.N, proof[0], c.Index, proof[1])
}

func checkConsistency(c Case) (Answer, error) {
	proof, err := toHashes(append([][]byte{c.Root, c.RootM}, c.Proof...))
	if err != nil {
		return Answer{}, err
	}
	return Answer{}, tlog.CheckTree(proof[2:], c.N, proof[0], c.M, proof[1])
}

func toBytes(hashes []tlog.Hash) [][]byte {
	values := make([][]byte, 0, len(hashes))
	for _, hash := range hashes {
		values = append(values, hash[:])
	}
	return values
}

func toHashes(values [][]byte) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, 0, len(values))
	for _, value := range values {
		if len(value) != sha256.Size {
			return nil, fmt.Errorf("a hash of %d bytes", len(value))
		}
		hashes = append(hashes, tlog.Hash(value))
	}
	return hashes, nil
}
