"""Ours against Go's golang.org/x/mod/sumdb (note, tlog) and github.com/transparency-dev/formats (checkpoint,
cosignature, tlog-proof): the small program in go/ answers with them, and each reads what the other wrote."""

import json
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from meterfabric_protocol import checkpoint, cosignature, note, tlog_proof
from meterfabric_protocol.merkle import Tree, leaf_hash, leaf_hashes
from meterfabric_protocol.merkle_proof import verify_consistency, verify_inclusion
from tests.vectors import make

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).parent / "go"
LEAVES = make.leaves(70)
TREE = Tree(leaf_hashes(LEAVES))
SPANS = [(low, size) for size in (*range(1, 18), 31, 32, 33, 64, 65, 70) for low in range(size)]
KEYS: Any = json.loads((make.FOLDER / "keys.json").read_bytes())
NOTES: Any = json.loads((make.FOLDER / "notes.json").read_bytes())
LOG, SINK = (KEYS[word]["verifier_key"] for word in ("log", "sink"))

# What Go takes though it isn't the one spelling or the one signature that we ask for.
LENIENT = {"the wanted signature twice", "base64 with stray bits"}

Ask = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


def plain(value: Any) -> Any:
    """JSON as Go reads it: bytes are base64."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def private_key(name: str, algorithm: int, seed: bytes, public_key: bytes) -> str:
    """A private key in the form of Go's note package."""
    ident = note.key_id(name, algorithm, public_key).hex()
    return f"PRIVATE+KEY+{name}+{ident}+{b64encode(bytes([algorithm]) + seed).decode()}"


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    program = tmp_path_factory.mktemp("interop") / "interop"
    subprocess.run(["go", "build", "-o", program, "."], cwd=PROGRAM, check=True, timeout=300)

    def answers(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
        asked = json.dumps([{key: plain(value) for key, value in case.items()} for case in cases])
        done = subprocess.run([program], input=asked, capture_output=True, text=True, check=True, timeout=60)
        given: list[dict[str, Any]] = json.loads(done.stdout)
        assert len(given) == len(cases)
        return given

    return answers


def hashes(answer: dict[str, Any]) -> list[bytes]:
    assert "error" not in answer, answer["error"]
    return [b64decode(value) for value in answer.get("proof", [])]


def test_both_make_the_same_roots(ask: Ask) -> None:
    sizes = range(1, len(LEAVES) + 1)  # Go has no tree of no leaves
    answers = ask([{"ask": "root", "leaves": LEAVES, "n": size} for size in sizes])
    assert [b64decode(answer["root"]) for answer in answers] == [TREE.root(size) for size in sizes]


def test_both_make_the_same_inclusion_proofs(ask: Ask) -> None:
    answers = ask([{"ask": "prove-inclusion", "leaves": LEAVES, "index": i, "n": n} for i, n in SPANS])
    for (index, size), answer in zip(SPANS, answers, strict=True):
        assert hashes(answer) == TREE.inclusion_proof(index, size)
        verify_inclusion(leaf_hash(LEAVES[index]), index, size, hashes(answer), TREE.root(size))


def test_both_make_the_same_consistency_proofs(ask: Ask) -> None:
    spans = [(low, size) for low, size in SPANS if low]
    answers = ask([{"ask": "prove-consistency", "leaves": LEAVES, "m": m, "n": n} for m, n in spans])
    for (m, n), answer in zip(spans, answers, strict=True):
        assert hashes(answer) == TREE.consistency_proof(m, n)
        verify_consistency(m, n, hashes(answer), TREE.root(m), TREE.root(n))


def test_go_verifies_our_proofs_and_refuses_them_altered(ask: Ask) -> None:
    sound, altered = [], []
    for low, size in SPANS:
        path = TREE.inclusion_proof(low, size)
        leaf, root = leaf_hash(LEAVES[low]), TREE.root(size)
        case = {"ask": "inclusion", "index": low, "n": size, "leaf": leaf, "root": root, "proof": path}
        sound.append(case)
        altered += [{**case, "leaf": root}, {**case, "root": leaf_hash(b"")}, {**case, "proof": [*path, root]}]
        if low:
            steps, old = TREE.consistency_proof(low, size), TREE.root(low)
            case = {"ask": "consistency", "m": low, "n": size, "root_m": old, "root": root, "proof": steps}
            sound.append(case)
            altered += [{**case, "root_m": root}, {**case, "root": old}, {**case, "proof": steps[:-1]}]
    # The tree of one leaf has its leaf's hash as its root, so handing the one for the other alters nothing.
    altered = [case for case in altered if not (case["n"] == 1 and case in sound)]
    assert [answer.get("error") for answer in ask(sound)] == [None] * len(sound)
    assert all(answer.get("error") for answer in ask(altered))


def test_both_take_and_refuse_the_same_notes(ask: Ask) -> None:
    answers = ask([{"ask": "open-note", "note": case["note"].encode(), "known": [LOG]} for case in NOTES])
    taken = {case["name"]: "error" not in answer for case, answer in zip(NOTES, answers, strict=True)}
    assert taken == {case["name"]: case["sound"] or case["name"] in LENIENT for case in NOTES}


def test_both_sign_the_same_note(ask: Ask) -> None:
    text = "Metered.\n\nZweimal – 二度.\n".encode()
    key = private_key(make.ORIGIN, note.ED25519, make.LOG.private_bytes_raw(), make.public_key("log"))
    [answer] = ask([{"ask": "sign-note", "text": text, "key": key}])
    assert b64decode(answer["note"]) == note.sign_note(text, make.ORIGIN, make.LOG)


def test_go_reads_our_cosigned_checkpoint(ask: Ask) -> None:
    case = {
        "ask": "open-checkpoint",
        "origin": make.ORIGIN,
        "known": [LOG],
        "cosigners": [SINK],
        "note": make.cosigned(),
    }
    [answer] = ask([case])
    assert answer["size"] == make.SIZE
    assert b64decode(answer["root"]) == make.checkpoint().root
    assert answer["others"] == f"first {make.FIRST}\n"
    assert answer["times"] == {make.SINK_NAME: make.TIME}
    assert answer["names"] == [make.ORIGIN, make.SINK_NAME]


def test_go_refuses_our_receipt_under_another_checkpoint(ask: Ask) -> None:
    text = make.checkpoint().text().replace(b"first 5", b"first 6")
    lines = make.cosigned().rpartition(b"\n\n")[2].splitlines(keepends=True)
    moved = note.add_signatures(note.sign_note(text, make.ORIGIN, make.LOG), lines[1:])
    [answer] = ask([{"ask": "open-note", "known": [LOG], "cosigners": [SINK], "note": moved}])
    assert "invalid signature" in answer["error"]


def test_ours_verifies_a_cosignature_made_by_go(ask: Ask) -> None:
    sealed = checkpoint.sign(make.checkpoint(), make.LOG)
    key = private_key(make.SINK_NAME, cosignature.COSIGNATURE, make.SINK.private_bytes_raw(), make.public_key("sink"))
    [answer] = ask([{"ask": "cosign", "known": [LOG], "note": sealed, "key": key}])
    signed = checkpoint.parse(b64decode(answer["note"]))
    assert checkpoint.authenticate(signed, make.ORIGIN, make.public_key("log")) == make.checkpoint()
    time = cosignature.verify_among(signed.text, signed.signatures, make.SINK_NAME, make.public_key("sink"))
    assert time > make.TIME
    assert (
        note.add_signatures(sealed, [cosignature.cosign(signed.text, make.SINK_NAME, make.SINK, time)]) == signed.note
    )


def test_go_verifies_our_whole_proof_file(ask: Ask) -> None:
    whole = {"ask": "tlog-proof-included", "origin": make.ORIGIN, "known": [LOG], "cosigners": [SINK]}
    whole["note"] = (make.FOLDER / "record.tlog-proof").read_bytes()
    leaf = leaf_hash((make.FOLDER / "record.json").read_bytes())
    right, wrong = ask([{**whole, "leaf": leaf}, {**whole, "leaf": leaf_hash(b"another")}])
    assert "error" not in right
    assert right["index"] == make.INDEX
    assert right["times"] == {make.SINK_NAME: make.TIME}
    assert wrong["error"]


def test_both_write_the_same_proof_file(ask: Ask) -> None:
    proofs = [make.proof(), make.proof(b"anything"), tlog_proof.TlogProof(0, (), make.cosigned())]
    cases = [
        {
            "ask": "write-tlog-proof",
            "index": proof.index,
            "proof": proof.hashes,
            "note": proof.note,
            "text": proof.extra,
        }
        for proof in proofs
    ]
    written = [b64decode(answer["note"]) for answer in ask(cases)]
    assert written == [tlog_proof.encode(proof) for proof in proofs]
    for proof, answer in zip(proofs, ask([{"ask": "read-tlog-proof", "note": data} for data in written]), strict=True):
        assert answer["index"] == proof.index
        assert hashes(answer) == list(proof.hashes)
        assert b64decode(answer["note"]) == proof.note
        assert b64decode(answer.get("extra", "")) == (proof.extra or b"")


def test_go_follows_a_log_that_grew_by_compact_ranges(ask: Ask) -> None:
    cuts = [0, 1, 5, 6, 38, 64, 70]
    grown = TREE.range(0, 0)
    cases = []
    for first, size in pairwise(cuts):
        before, grown = grown, grown.append(leaf_hashes(LEAVES[first:size]))
        if first:
            steps = TREE.consistency_proof(first, size)
            roots = {"root_m": before.root(), "root": grown.root()}
            cases.append({"ask": "consistency", "m": first, "n": size, "proof": steps, **roots})
    assert [answer.get("error") for answer in ask(cases)] == [None] * len(cases)
