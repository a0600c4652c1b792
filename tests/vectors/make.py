"""Makes the test vectors of this folder: `python -m tests.vectors.make` from the top of the tree writes them all.

Keys are derived from fixed words and nothing is random, so the files never change unless the formats do; a test makes
them again and compares. rfc6962.json isn't made here: its values are those that Certificate Transparency's own tests
publish for these eight leaves.
"""

import json
from base64 import b32encode, b64encode
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol.checkpoint import Checkpoint, sign
from meterfabric_protocol.cosignature import COSIGNATURE, cosign
from meterfabric_protocol.merkle import HASH_BYTES, CompactRange, Tree, leaf_hashes
from meterfabric_protocol.note import ED25519, add_signatures, encode_verifier_key, sign_note
from meterfabric_protocol.tlog_proof import TlogProof, encode

FOLDER = Path(__file__).parent

SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 100, 255, 256, 257)
RANGES = ((0, 0), (0, 7), (3, 7), (5, 100), (8, 8), (64, 100), (1, 257), (255, 257))
INCLUSIONS = ((0, 1), (6, 7), (3, 8), (99, 100), (128, 257), (256, 257))
CONSISTENCIES = ((0, 5), (1, 5), (3, 7), (4, 7), (7, 7), (100, 257), (256, 257))

FIRST, SIZE, INDEX = 5, 12, 8
"""The batch of the signed vectors, and the record in it that is proven."""

TIME = 1767225600
"""When the sink of the vectors cosigned (POSIX seconds)."""


def private_key(word: str) -> Ed25519PrivateKey:
    """The key of this word. Everybody can make it: never use it for anything else."""
    return Ed25519PrivateKey.from_private_bytes(sha256(f"meterfabric test vector {word}".encode()).digest())


def public_key(word: str) -> bytes:
    return private_key(word).public_key().public_bytes_raw()


LOG, SINK = private_key("log"), private_key("sink")
ORIGIN = f"billing.meters/shop/cart-0/{b32encode(sha256(public_key('log')).digest()[:16]).decode().rstrip('=').lower()}"
SINK_NAME = "billing.meters/sink/ledger"


def leaf(index: int) -> bytes:
    """Leaf number `index` of the vectors' log: a record."""
    return b'{"specversion":"1.0","id":"%d","source":"/shop","type":"checkout"}' % index


def leaves(size: int) -> list[bytes]:
    return [leaf(index) for index in range(size)]


def merkle() -> dict[str, object]:
    """Roots, compact ranges and proofs over the vectors' leaves, hashes in hexadecimal."""
    tree = Tree(leaf_hashes(leaves(max(SIZES))))
    return {
        "leaves": [leaf(index).decode() for index in range(3)],
        "roots": [{"size": size, "root": tree.root(size).hex()} for size in SIZES],
        "ranges": [
            {"first": first, "size": size, "hashes": [value.hex() for value in tree.range(first, size).hashes]}
            for first, size in RANGES
        ],
        "inclusion": [
            {"index": index, "size": size, "proof": [value.hex() for value in tree.inclusion_proof(index, size)]}
            for index, size in INCLUSIONS
        ],
        "consistency": [
            {"m": m, "n": n, "proof": [value.hex() for value in tree.consistency_proof(m, n)]} for m, n in CONSISTENCIES
        ],
    }


def keys() -> dict[str, object]:
    """The two keys of the signed vectors, as bytes in hexadecimal and as other tools take them."""
    return {
        "log": {
            "name": ORIGIN,
            "seed": LOG.private_bytes_raw().hex(),
            "public_key": public_key("log").hex(),
            "verifier_key": encode_verifier_key(ORIGIN, ED25519, public_key("log")),
        },
        "sink": {
            "name": SINK_NAME,
            "seed": SINK.private_bytes_raw().hex(),
            "public_key": public_key("sink").hex(),
            "verifier_key": encode_verifier_key(SINK_NAME, COSIGNATURE, public_key("sink")),
        },
    }


def checkpoint() -> Checkpoint:
    """What the vectors' log states after its batch [FIRST, SIZE)."""
    return Checkpoint(ORIGIN, SIZE, CompactRange.empty().append(leaf_hashes(leaves(SIZE))).root(), FIRST)


def cosigned() -> bytes:
    """The checkpoint's note with the sink's receipt."""
    text = checkpoint().text()
    return add_signatures(sign(checkpoint(), LOG), [cosign(text, SINK_NAME, SINK, TIME)])


def proof(extra: bytes | None = None) -> TlogProof:
    """The proof of record INDEX in its batch's cosigned checkpoint."""
    hashes = leaf_hashes(leaves(SIZE))
    frontier = CompactRange.empty().append(hashes[: FIRST * HASH_BYTES])
    tree = Tree(hashes[FIRST * HASH_BYTES :], frontier)
    return TlogProof(INDEX, tuple(tree.inclusion_proof(INDEX, tree.size)), cosigned(), extra)


def notes() -> list[dict[str, object]]:
    """Notes of the log's key: `sound` says whether a reader takes it, `why` what is wrong with it where he doesn't."""
    text = "Metered.\n\nTwice.\n"
    sound = sign_note(text.encode(), ORIGIN, LOG).decode()
    body, line = sound[: len(text)], sound[len(text) + 1 :]
    stranger = sign_note(text.encode(), "stranger", SINK).decode()[len(text) + 1 :]
    value = line.split(" ")[2].rstrip("\n")
    stray = b64encode(b"\0" * 9 + b"\0").decode().replace("AA==", "AB==")
    cases = [
        ("one signature", sound, None),
        ("a stranger's signature as well", sound + stranger, None),
        ("a stranger's signature twice", sound + stranger + stranger, None),
        ("a signature of an unknown kind", sound + "— stranger AAAAAAE=\n", None),
        ("the wanted signature twice", sound + line, "twice"),
        ("no wanted signature", body + "\n" + stranger, "none"),
        ("another text", sound.replace("Twice", "Thrice"), "another text"),
        ("no signature", body + "\n", "no signature lines"),
        ("no blank line", "Metered.\n" + line, "no blank line"),
        ("no last newline", sound.rstrip("\n"), "no last newline"),
        ("a carriage return", sound.replace("\n", "\r\n"), "control character"),
        ("a tab in the text", sound.replace("Metered.", "Metered.\t"), "control character"),
        ("a hyphen for the dash", sound.replace("—", "-"), "no em dash"),
        ("two spaces", sound.replace(" " + value, "  " + value), "empty base64"),
        ("a name with a plus", sound + stranger.replace("stranger", "stran+ger"), "plus in a name"),
        ("a name with a wide space", sound + stranger.replace("stranger", "stran\u2003ger"), "space in a name"),
        ("no name", sound + stranger.replace("stranger ", " "), "no name"),
        ("base64 without padding", sound.replace(value, value.rstrip("=")), "base64"),
        ("base64 with stray bits", sound + f"— stranger {stray}\n", "base64"),
        ("base64 of the URL alphabet", sound + "— stranger AAAAAA-_\n", "base64"),
        ("a key id and no signature", sound + "— stranger AAAAAA==\n", "too short"),
    ]
    return [{"name": name, "note": note, "sound": why is None, "why": why} for name, note, why in cases]


def files() -> dict[str, bytes]:
    """Every made file's name and bytes."""

    def pretty(value: object) -> bytes:
        return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"

    return {
        "merkle.json": pretty(merkle()),
        "keys.json": pretty(keys()),
        "notes.json": pretty(notes()),
        "checkpoint.note": sign(checkpoint(), LOG),
        "cosigned.note": cosigned(),
        "record.json": leaf(INDEX),
        "record.tlog-proof": encode(proof()),
        "record-extra.tlog-proof": encode(proof(b"anything")),
    }


def main() -> None:
    for name, data in files().items():
        (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
