"""What is fuzzed: one function per decoder, which lets any bytes end in the decoder's one error or in a value that
holds a law. Whatever else it raises is a finding."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from meterfabric_protocol import checkpoint, hello, message, note, notice, tlog_proof
from meterfabric_protocol.batch import BatchHeader, decode_header, encode_header, join, split
from meterfabric_protocol.delivery import answer
from meterfabric_protocol.errors import Malformed, ProtocolError
from meterfabric_protocol.merkle import leaf_hash
from meterfabric_protocol.record import RecordError, Split, from_binary, one, split_array, split_lines

VECTORS: Final = Path(__file__).parent.parent / "vectors"
CORPUS: Final = Path(__file__).parent / "corpus"


def batch_header(data: bytes) -> None:
    """A header has one spelling, and so has its stub's."""
    try:
        header = decode_header(data)
    except Malformed:
        return
    assert encode_header(header) == data
    assert header.range.encode() == header.roots
    assert decode_header(encode_header(header.stub())) == header.stub()


def batch_payload(data: bytes) -> None:
    """First byte: how many leaves, and of which kind. Leaves joined again are the payload."""
    if not data:
        return
    count, payload = (data[0] >> 1) + 1, data[1:]
    kind = "notices" if data[0] & 1 else "records"
    header = BatchHeader("o", 0, count, kind, kind, "none", len(payload), b"", b"")  # type: ignore[arg-type]
    try:
        leaves = split(payload, header)
    except Malformed:
        return
    assert join(leaves) == payload
    assert len(leaves) == count


def notice_leaf(data: bytes) -> None:
    """A notice has one spelling."""
    try:
        found = notice.decode(data)
    except Malformed:
        return
    assert notice.encode(found) == data


def signed_note(data: bytes) -> None:
    """A note has one spelling, and so has a checkpoint's text."""
    try:
        found = note.parse_note(data, 4096)
        assert found.encode() == data
        assert checkpoint.parse(data, 4096).checkpoint.text() == found.text
    except Malformed:
        return


def records(data: bytes) -> None:
    """First byte: the form of body. What is taken is one line each, taken again alone, and JSON to others too."""
    if not data:
        return
    read: Callable[[bytes], Split] = (split_lines, split_array, one)[data[0] % 3]
    try:
        found = read(data[1:])
    except RecordError as error:
        str(error)
        return
    for record, key in zip(found.records, found.keys, strict=True):
        assert b"\n" not in record
        assert record[:1] == b"{"
        assert one(record) == (record + b"\n", [key], leaf_hash(record))
        event = json.loads(record, parse_int=str)
        assert f"{event['source']}\x1f{event['id']}" == key


def binary_mode(data: bytes) -> None:
    """Header lines, a blank line, a body. What comes of it is JSON, and no body escapes from `data`."""
    head, _, body = data.partition(b"\n\n")
    headers = dict(line.split(":", 1) for line in head.decode("utf-8", "surrogateescape").split("\n") if ":" in line)
    try:
        record = from_binary(headers, body)
        event: dict[str, Any] = json.loads(record, parse_int=str)
        one(record)
    except RecordError:
        return
    assert len(event) <= len(headers) + 2


def proof(data: bytes) -> None:
    """A proof has one spelling."""
    try:
        found = tlog_proof.decode(data)
    except Malformed:
        return
    assert tlog_proof.encode(found) == data


def envelope(data: bytes) -> None:
    """First byte: how many frames came along."""
    if not data:
        return
    try:
        found = message.decode(data[1:], data[0] % 4)
    except Malformed:
        return
    assert message.decode(message.encode(found), data[0] % 4) == found


def hello_body(data: bytes) -> None:
    """A HELLO that is read can be judged."""
    try:
        hello.decode_hello(data)
    except ProtocolError:
        return


def answer_body(data: bytes) -> None:
    """An answer that is read can be judged."""
    try:
        answer.read(data)
    except Malformed:
        return


ENVELOPES: Final[tuple[tuple[message.Message, int], ...]] = (
    (message.Hello(), 3),
    (message.Welcome("relay-0", 2**20), 0),
    (message.Refused("full", "no room"), 0),
    (message.Sinks({"warehouse": (b"chain",)}), 0),
    (message.Want({"warehouse": message.Wish(300_000, 2**40)}), 0),
)
"""Envelopes, and how many frames come along."""

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        batch_header,
        batch_payload,
        notice_leaf,
        signed_note,
        records,
        binary_mode,
        proof,
        envelope,
        hello_body,
        answer_body,
    )
}


def seeds() -> dict[str, list[bytes]]:
    """Where fuzzing starts: the vectors, as each target takes them."""
    batches = _vectors("batch/batches.json")
    notices = _vectors("batch/notices.json")
    headers = [batch[form] for batch in batches["batches"] for form in ("header", "stub_header")]
    headers += [vector["header"] for vector in batches["refused_headers"]]
    bodies = _vectors("batch/records.json")
    forms = {"lines": b"\0", "array": b"\1", "one": b"\2"}
    return {
        "batch_header": [bytes.fromhex(header) for header in headers],
        "batch_payload": [
            bytes([2 * (batch["size"] - batch["first"] - 1) + (batch["kind"] == "notices")]) + batch["payload"].encode()
            for batch in batches["batches"]
        ],
        "notice_leaf": [vector["leaf"].encode() for group in notices.values() for vector in group],
        "signed_note": [vector["note"].encode() for vector in _vectors("notes.json")],
        "records": [forms[body["form"]] + body["body"].encode() for body in bodies if body["form"] in forms],
        "binary_mode": [
            "\n".join([*(f"{name}:{value}" for name, value in body["headers"].items()), "", body["body"]]).encode()
            for body in bodies
            if body["form"] == "binary"
        ],
        "envelope": [bytes([frames]) + message.encode(found) for found, frames in ENVELOPES],
        "hello_body": [msgspec.msgpack.encode([1, "sink", "f.n/sink/s", bytes(32), bytes(32), bytes(16), "w-0", 9, 9])],
        "answer_body": [
            msgspec.msgpack.encode(["s", "f.n/a/b/c", bytes(16), 1, kind, 7, 7, bytes(32), "line", "why", "more"])
            for kind in ("receipt", "passed", "position", "conflict", "refused")
        ],
        "proof": [path.read_bytes() for path in sorted(VECTORS.glob("*.tlog-proof"))],
    }


def _vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))
