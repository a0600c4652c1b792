"""A checkpoint states origin, size, root and where its batch began, and is believed only under the log's key."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.checkpoint import MAX_NOTE_BYTES, Checkpoint, authenticate, parse, parse_text, sign, verify
from meterfabric_protocol.errors import BadSignature, Malformed, ProtocolError
from meterfabric_protocol.merkle import EMPTY_ROOT, MAX_SIZE
from meterfabric_protocol.note import Signature, add_signatures, sign_note
from tests.vectors import make

NOTE = (make.FOLDER / "checkpoint.note").read_bytes()
COSIGNED = (make.FOLDER / "cosigned.note").read_bytes()
KEY = make.public_key("log")
ROOT = "ypeBEsobvcr6wjGzmiPcTaeG7/gUfe5yuYB3ha/uSLs="

roots = st.binary(min_size=32, max_size=32)
bounds = st.lists(st.integers(0, MAX_SIZE), min_size=2, max_size=2).map(sorted)


def test_the_vectors_checkpoint_verifies() -> None:
    assert verify(NOTE, make.ORIGIN, KEY) == make.checkpoint()
    assert verify(COSIGNED, make.ORIGIN, KEY) == make.checkpoint()


@given(bounds, roots)
def test_what_is_signed_is_read_back(bound: list[int], root: bytes) -> None:
    stated = Checkpoint(make.ORIGIN, bound[1], root, bound[0])
    note = sign(stated, make.LOG)
    signed = parse(note)
    assert signed.checkpoint == parse_text(signed.text) == stated
    assert signed.text == stated.text()
    assert signed.note == note
    assert authenticate(signed, make.ORIGIN, KEY) == stated


def test_the_empty_log_has_a_checkpoint() -> None:
    empty = Checkpoint(make.ORIGIN, 0, EMPTY_ROOT, 0)
    assert verify(sign(empty, make.LOG), make.ORIGIN, KEY) == empty


@given(st.integers(0, 8 * len(NOTE) - 1))
def test_no_flipped_bit_goes_unseen(bit: int) -> None:
    flipped = bytearray(NOTE)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises((Malformed, BadSignature)):
        verify(bytes(flipped), make.ORIGIN, KEY)


@given(st.binary() | st.lists(st.sampled_from([make.ORIGIN, "1", ROOT, "first 0", "\n", "\n\n", "x"])).map("".join))
def test_no_bytes_raise_anything_but_protocol_errors(data: bytes | str) -> None:
    data = data.encode() if isinstance(data, str) else data
    for read in (parse, parse_text):
        try:
            read(data)
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 lines, not 4"),
        (f"log\n1\n{ROOT}\n", "3 lines, not 4"),
        (f"log\n1\n{ROOT}\nfirst 0\nmore\n", "5 lines, not 4"),
        (f"log\n1\n{ROOT}\nfirst 0", "3 lines, not 4"),
        (f"log\n1\n{ROOT}\nfirst 0x", "3 lines, not 4"),
        (f"log\n1\n{ROOT}\n\n", "no extension line"),
        (f"log\n1\n{ROOT}\nlast 0\n", "no extension line"),
        (f"log\n1\n{ROOT}\nfirst  0\n", "first: not a decimal"),
        (f"log\n1\n{ROOT}\nfirst 2\n", "first 2 is beyond size 1"),
        (f"log\n01\n{ROOT}\nfirst 0\n", "size: not a decimal"),
        (f"log\n{2**63}\n{ROOT}\nfirst 0\n", "size: not a decimal"),
        (f"log\n1\n{ROOT[:-1]}\nfirst 0\n", "root: not base64"),
        ("log\n1\nAAAA\nfirst 0\n", "root: 3 bytes, not 32"),
        (f"lo g\n1\n{ROOT}\nfirst 0\n", "a space"),
        (f"lo+g\n1\n{ROOT}\nfirst 0\n", "a plus"),
        (f"\n1\n{ROOT}\nfirst 0\n", "no name"),
        (f"{'l' * 256}\n1\n{ROOT}\nfirst 0\n", "a name of 256 bytes, at most 255"),
        (f"log\n1\n{ROOT}\nfirst 0\r\n", "a control character"),
    ],
)
def test_a_text_that_is_no_checkpoint_is_named(text: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse_text(text.encode())


def test_a_checkpoint_of_another_log_is_refused() -> None:
    with pytest.raises(Malformed, match=r"not 'billing.meters/shop/cart-1/x'"):
        verify(NOTE, "billing.meters/shop/cart-1/x", KEY)


def test_a_checkpoint_under_another_key_is_refused() -> None:
    with pytest.raises(BadSignature, match="0 signatures"):
        verify(NOTE, make.ORIGIN, make.public_key("sink"))


def test_a_checkpoint_signed_in_another_name_is_refused() -> None:
    note = sign_note(make.checkpoint().text(), "another", make.LOG)
    with pytest.raises(BadSignature, match="0 signatures"):
        verify(note, make.ORIGIN, KEY)


def test_a_note_larger_than_the_limit_is_refused() -> None:
    stranger = Signature("stranger", b"\0" * 4, bytes(MAX_NOTE_BYTES)).line()
    with pytest.raises(Malformed, match="at most 2048"):
        verify(add_signatures(NOTE, [stranger]), make.ORIGIN, KEY)
    assert verify(add_signatures(NOTE, [stranger]), make.ORIGIN, KEY, 4096) == make.checkpoint()


@pytest.mark.parametrize(
    "wrong",
    [
        Checkpoint("a b", 1, EMPTY_ROOT, 0),
        Checkpoint("log", -1, EMPTY_ROOT, 0),
        Checkpoint("log", 1, EMPTY_ROOT, 2),
        Checkpoint("log", 1, EMPTY_ROOT, -1),
        Checkpoint("log", MAX_SIZE + 1, EMPTY_ROOT, 0),
        Checkpoint("log", 1, EMPTY_ROOT[:-1], 0),
    ],
)
def test_what_no_checkpoint_can_state_is_not_signed(wrong: Checkpoint) -> None:
    with pytest.raises(ValueError, match=r"checkpoint|origin"):
        sign(wrong, Ed25519PrivateKey.generate())
