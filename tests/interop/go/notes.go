package main

import (
	"crypto/sha256"

	checkpoints "github.com/transparency-dev/formats/log"
	cosigned "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func verifiers(known, cosigners []string) ([]note.Verifier, error) {
	var all []note.Verifier
	for _, key := range known {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return nil, err
		}
		all = append(all, verifier)
	}
	for _, key := range cosigners {
		verifier, err := cosigned.NewVerifierForCosignatureV1(key)
		if err != nil {
			return nil, err
		}
		all = append(all, verifier)
	}
	return all, nil
}

func opened(n *note.Note, sinks []string) (Answer, error) {
	answer := Answer{Text: []byte(n.Text), Times: map[string]int64{}}
	cosigners, err := verifiers(nil, sinks)
	if err != nil {
		return answer, err
	}
	for _, signature := range n.Sigs {
		answer.Names = append(answer.Names, signature.Name)
		for _, cosigner := range cosigners {
			if cosigner.Name() == signature.Name && cosigner.KeyHash() == signature.Hash {
				time, err := cosigned.CoSigV1Timestamp(signature)
				if err != nil {
					return answer, err
				}
				answer.Times[signature.Name] = time.Unix()
			}
		}
	}
	return answer, nil
}

func openNote(c Case) (Answer, error) {
	all, err := verifiers(c.Known, c.Sinks)
	if err != nil {
		return Answer{}, err
	}
	n, err := note.Open(c.Note, note.VerifierList(all...))
	if err != nil {
		return Answer{}, err
	}
	return opened(n, c.Sinks)
}

func signNote(c Case) (Answer, error) {
	signer, err := note.NewSigner(c.Key)
	if err != nil {
		return Answer{}, err
	}
	signed, err := note.Sign(&note.Note{Text: string(c.Text)}, signer)
	return Answer{Note: signed}, err
}

func openCheckpoint(c Case) (Answer, error) {
	known, err := verifiers(c.Known, nil)
	if err != nil {
		return Answer{}, err
	}
	sinks, err := verifiers(nil, c.Sinks)
	if err != nil {
		return Answer{}, err
	}
	checkpoint, others, n, err := checkpoints.ParseCheckpoint(c.Note, c.Origin, known[0], sinks...)
	if err != nil {
		return Answer{}, err
	}
	answer, err := opened(n, c.Sinks)
	answer.Root, answer.Size, answer.Others = checkpoint.Hash, checkpoint.Size, string(others)
	return answer, err
}

func cosign(c Case) (Answer, error) {
	all, err := verifiers(c.Known, nil)
	if err != nil {
		return Answer{}, err
	}
	n, err := note.Open(c.Note, note.VerifierList(all...))
	if err != nil {
		return Answer{}, err
	}
	signer, err := cosigned.NewSignerForCosignatureV1(c.Key)
	if err != nil {
		return Answer{}, err
	}
	signed, err := note.Sign(n, signer)
	return Answer{Note: signed}, err
}

func readTLogProof(c Case) (Answer, error) {
	var p proof.TLogProof
	if err := p.Unmarshal(c.Note); err != nil {
		return Answer{}, err
	}
	answer := Answer{Index: p.Index, Note: p.Checkpoint, Extra: p.ExtraData}
	for _, hash := range p.Hashes {
		answer.Proof = append(answer.Proof, hash[:])
	}
	return answer, nil
}

func writeTLogProof(c Case) (Answer, error) {
	p := proof.TLogProof{Index: uint64(c.Index), Checkpoint: c.Note, ExtraData: c.Text}
	for _, hash := range c.Proof {
		p.Hashes = append(p.Hashes, [sha256.Size]byte(hash))
	}
	return Answer{Note: p.Marshal()}, nil
}

// tlogProofIncluded verifies a whole proof as an auditor would who has nothing of ours: the file, the leaf's hash, the
// log's key and the sinks' keys.
func tlogProofIncluded(c Case) (Answer, error) {
	var p proof.TLogProof
	if err := p.Unmarshal(c.Note); err != nil {
		return Answer{}, err
	}
	answer, err := openCheckpoint(Case{Note: p.Checkpoint, Origin: c.Origin, Known: c.Known, Sinks: c.Sinks})
	if err != nil {
		return Answer{}, err
	}
	var path []tlog.Hash
	for _, hash := range p.Hashes {
		path = append(path, tlog.Hash(hash))
	}
	answer.Index = p.Index
	return answer, tlog.CheckRecord(path, int64(answer.Size), tlog.Hash(answer.Root), int64(p.Index), tlog.Hash(c.Leaf))
}
