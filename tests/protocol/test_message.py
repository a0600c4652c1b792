"""The wire's envelope: what is written is read, what is not ours is refused with a reason, and vectors stay."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery import answer as answers
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.hello import decode_hello
from tests.vectors.make import public_key
from tests.vectors.wire import generate

VECTORS = json.loads((Path(generate.__file__).parent / "messages.json").read_text())


def frames_of(message: m.Message) -> int:
    return m.FRAMES.get(type(message), (0, 0))[0]


@pytest.mark.parametrize("message", generate.MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_is_read_as_it_was_written(message: m.Message) -> None:
    assert m.decode(m.encode(message), frames_of(message)) == message


def test_the_vectors_are_what_this_release_writes() -> None:
    assert json.loads(json.dumps(generate.wire())) == VECTORS


def test_every_message_has_a_vector() -> None:
    assert {type(message) for message in generate.MESSAGES} == set(m.Message.__args__)  # type: ignore[attr-defined]


def test_the_answers_of_the_vectors_verify_under_the_sinks_key_and_no_other() -> None:
    for vector in VECTORS["answers"]:
        body, signature = bytes.fromhex(vector["body"]), bytes.fromhex(vector["signature"])
        answers.verify(body, signature, public_key("sink"))
        assert answers.read(body).kind == vector["kind"]
        with pytest.raises(answers.BadAnswer):
            answers.verify(body, signature, public_key("log"))
        with pytest.raises(answers.BadAnswer):
            answers.verify(body[:-1] + bytes([body[-1] ^ 1]), signature, public_key("sink"))


def test_the_hello_of_the_vectors_is_read() -> None:
    assert decode_hello(bytes.fromhex(VECTORS["hello"]["body"])).name == generate.ORIGIN


@pytest.mark.parametrize(
    ("envelope", "frames", "why"),
    [
        (b"", 0, "MF"),
        (b"XX\x01", 0, "MF"),
        (b"MF\x02\x91\xa3bye", 0, "version 2"),
        (b"MF\x01\x91\xa3nay", 0, "nay"),
        (m.encode(m.Bye()), 1, "with 1 frames"),
        (m.encode(m.Hello()), 2, "with 2 frames"),
        (m.encode(m.Batch("o", ())), 4, "with 4 frames"),
        (b"MF\x01" + bytes(m.MAX_ENVELOPE_BYTES), 0, "at most"),
    ],
)
def test_what_is_no_envelope_is_refused_with_its_reason(envelope: bytes, frames: int, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        m.decode(envelope, frames)


@given(st.binary(max_size=300), st.integers(0, 4))
def test_any_bytes_are_a_message_or_malformed(data: bytes, frames: int) -> None:
    for envelope in (data, b"MF\x01" + data):
        with contextlib.suppress(Malformed):
            m.decode(envelope, frames)
