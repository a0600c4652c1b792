"""Writes the vectors of records, notices and batches: `python -m tests.vectors.batch.generate`.

For other implementations to read; our own tests hold the files against the code, and the code against the files. All
keys are made from fixed bytes and Ed25519 is deterministic, so that a second run writes the same files.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import notice as notices
from meterfabric_protocol.batch import MAGIC, BatchHeader, Content, encode_header, join, seal
from meterfabric_protocol.merkle import CompactRange, leaf_hashes
from meterfabric_protocol.record import Split, from_binary, one, split_array, split_lines

HERE = Path(__file__).parent
SEED = bytes(range(32))
KEY = Ed25519PrivateKey.from_private_bytes(SEED)
ORIGIN = "metering.main/shop/web-7d4b9c/aaaaaaaaaaaaaaaaaaaaaaaaaa"
PREVIOUS = "metering.main/shop/web-7d4b9c/bbbbbbbbbbbbbbbbbbbbbbbbbb"
READERS = {"lines": split_lines, "array": split_array, "one": one}

EVERY_NOTICE: tuple[notices.Notice, ...] = (
    notices.Opened(log=ORIGIN),
    notices.Continues(log=ORIGIN, previous=PREVIOUS, size=7, root=bytes(range(32)), reason="restart"),
    notices.Continues(
        log=ORIGIN,
        previous=PREVIOUS,
        size=7,
        root=bytes(range(32)),
        heard=12,
        reason="equivocation",
        again=(notices.Again(at=1, first=7, size=9, root=bytes(32)), notices.Again(at=3, first=9, size=12, root=SEED)),
    ),
    notices.Expired(log=ORIGIN, ranges=((1, 4), (6, 7)), sink="warehouse", reason="age"),
    notices.Expired(log=PREVIOUS, ranges=((0, 2**63 - 1),), sink="warehouse", reason="quota"),
    notices.Damaged(log=ORIGIN, ranges=((4, 6),), cause="hash"),
    notices.LostBySink(log=ORIGIN, ranges=((1, 4),), sink="billing-eu"),
    notices.SinkJoined(log=ORIGIN, sink="billing-eu", size=9),
    notices.SinkLeft(log=ORIGIN, sink="warehouse", size=11),
    notices.Closed(log=ORIGIN, records=5),
)

REFUSED_NOTICES = {
    "no mark": '{"notice":"closed","v":1,"log":"a","records":1}',
    "another version": '!{"notice":"closed","v":2,"log":"a","records":1}',
    "an unknown notice": '!{"notice":"gone","v":1,"log":"a"}',
    "an unknown field": '!{"notice":"opened","v":1,"log":"a","x":1}',
    "a space": '!{"notice":"opened", "v":1,"log":"a"}',
    "another order": '!{"v":1,"notice":"opened","log":"a"}',
    "a field twice": '!{"notice":"opened","v":1,"log":"a","log":"b"}',
    "an origin with a space": '!{"notice":"opened","v":1,"log":"a b"}',
    "an origin with a plus": '!{"notice":"opened","v":1,"log":"a+b"}',
    "an empty origin": '!{"notice":"opened","v":1,"log":""}',
    "a size below 0": '!{"notice":"sink-left","v":1,"log":"a","sink":"s","size":-1}',
    "a size beyond 2**63-1": '!{"notice":"sink-left","v":1,"log":"a","sink":"s","size":9223372036854775808}',
    "no ranges": '!{"notice":"damaged","v":1,"log":"a","ranges":[],"cause":"hash"}',
    "an empty range": '!{"notice":"damaged","v":1,"log":"a","ranges":[[3,3]],"cause":"hash"}',
    "ranges that touch": '!{"notice":"damaged","v":1,"log":"a","ranges":[[1,3],[3,4]],"cause":"hash"}',
    "ranges out of order": '!{"notice":"damaged","v":1,"log":"a","ranges":[[3,4],[1,2]],"cause":"hash"}',
    "a sink's name in capitals": '!{"notice":"sink-left","v":1,"log":"a","sink":"S","size":1}',
}

BODIES: dict[str, tuple[str, bytes]] = {
    "two lines": (
        "lines",
        b'{"specversion":"1.0","id":"1","source":"s","type":"t"}\n'
        b'{"type":"t", "data":{"cpu": 1.50},"source":"s","specversion":"1.0","id":"2"}\n',
    ),
    "an array over several lines": (
        "array",
        b'[\n {"specversion":"1.0",\r\n  "id":"1","source":"s","type":"t"}\n,'
        b'{"specversion":"1.0","id":"2","source":"s","type":"t","data":"a\\nb\\u0000"}\n]\n',
    ),
    "one object over several lines": ("one", b'{"specversion":"1.0",\n"id":"\\u00e9","source":"s","type":"t"}\n'),
}


def vectors() -> dict[str, Any]:
    """File name → content."""
    return {"notices.json": _notices(), "batches.json": _batches(), "records.json": _records()}


def _notices() -> dict[str, Any]:
    taken = [{"leaf": notices.encode(notice).decode()} for notice in EVERY_NOTICE]
    return {"taken": taken, "refused": [{"why": why, "leaf": leaf} for why, leaf in REFUSED_NOTICES.items()]}


def _batches() -> dict[str, Any]:
    """One log from its `opened` to its `closed`, each batch at the frontier that the one before left."""
    frontier = CompactRange.empty()
    batches = []
    contents: list[tuple[Content, list[bytes]]] = [
        ("notices", [notices.encode(notices.Opened(log=ORIGIN))]),
        ("records", [_record(str(i)) for i in range(5)]),
        ("records", [_record("é", data={"cpu": 1.5})]),
        ("notices", [notices.encode(notices.Closed(log=ORIGIN, records=6))]),
    ]
    header = None
    for kind, leaves in contents:
        payload = join(leaves)
        header, after = seal(ORIGIN, KEY, frontier, leaf_hashes(leaves), kind, payload)
        batches.append(
            {
                "first": header.first,
                "size": header.size,
                "kind": kind,
                "frontier_before": frontier.encode().hex(),
                "frontier_after": after.encode().hex(),
                "root": after.root().hex(),
                "note": header.note.decode(),
                "header": encode_header(header).hex(),
                "stub_header": encode_header(header.stub()).hex(),
                "payload": payload.decode(),
            }
        )
        frontier = after
    assert header is not None
    return {
        "origin": ORIGIN,
        "private_key_seed": SEED.hex(),
        "public_key": KEY.public_key().public_bytes_raw().hex(),
        "batches": batches,
        "refused_headers": [{"why": why, "header": data.hex()} for why, data in _refused(header).items()],
    }


def _refused(good: BatchHeader) -> dict[str, bytes]:
    data = encode_header(good)

    def changed(**fields: Any) -> bytes:
        return encode_header(msgspec.structs.replace(good, **fields))

    line = good.note.split(b"\n\n")[1]
    return {
        "another magic": b"MFX" + data[3:],
        "version 2": MAGIC + b"\x02" + data[4:],
        "cut": data[:-1],
        "a byte more": data + b"\x00",
        "no leaves": changed(first=good.size),
        "size before first": changed(first=good.size + 1),
        "another origin than its checkpoint's": changed(origin=PREVIOUS),
        "another first than its checkpoint's": changed(first=good.first - 1, length=good.length + 2, roots=bytes(32)),
        "roots too few": changed(roots=b""),
        "kind and content that differ": changed(of="records"),
        "a stub with a payload": changed(kind="stub"),
        "a payload shorter than its leaves": changed(length=1),
        "a payload beyond the limit": changed(length=2**40),
        "a second signature on the checkpoint": changed(note=good.note + line),
        "an integer not in its shortest form": data.replace(bytes([good.size, 0xA7]), bytes([0xCC, good.size, 0xA7])),
        "encryption, which version 1 reserves": data[:-1] + b"\x01",
    }


def _records() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for why, (form, body) in BODIES.items():
        split: Split = READERS[form](body)
        found.append(
            {
                "why": why,
                "form": form,
                "body": body.decode(),
                "records": [record.decode() for record in split.records],
                "keys": split.keys,
            }
        )
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "a%20b",
        "ce-source": "s",
        "ce-type": "t",
        "content-type": "text/plain",
    }
    kept = from_binary(headers, b"hello").decode()
    found.append({"why": "binary mode", "form": "binary", "headers": headers, "body": "hello", "records": [kept]})
    return found


def _record(ident: str, **more: Any) -> bytes:
    event = {"specversion": "1.0", "id": ident, "source": "urn:meter:1", "type": "cpu"} | more
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


if __name__ == "__main__":
    for name, content in vectors().items():
        (HERE / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
