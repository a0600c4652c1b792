"""Answers: signed, bound, and read without being believed."""

import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.delivery.answer import LABEL, MAX_ANSWER_BYTES, Answer, BadAnswer, read, sign, verify
from meterfabric_protocol.errors import Malformed

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes_raw()
ANSWER = Answer("billing", "metering.main/shop/web-0/x", b"n" * 16, 3, "position", 0, 5, b"r" * 32)


def test_an_answer_comes_back_as_it_was() -> None:
    body, signature = sign(ANSWER, KEY)
    verify(body, signature, PUBLIC)
    assert read(body) == ANSWER


def test_another_key_signs_nothing() -> None:
    body, signature = sign(ANSWER, Ed25519PrivateKey.generate())
    with pytest.raises(BadAnswer):
        verify(body, signature, PUBLIC)


@pytest.mark.parametrize("at", [0, 10, -1])
def test_one_changed_byte_is_refused(at: int) -> None:
    body, signature = sign(ANSWER, KEY)
    changed = bytearray(body)
    changed[at] ^= 1
    with pytest.raises(BadAnswer):
        verify(bytes(changed), signature, PUBLIC)


def test_what_is_signed_under_another_label_is_no_answer() -> None:
    body, _ = sign(ANSWER, KEY)
    with pytest.raises(BadAnswer):
        verify(body, KEY.sign(body), PUBLIC)
    assert LABEL.endswith(b"\n")


def test_a_long_answer_is_refused_unread() -> None:
    with pytest.raises(Malformed, match=str(MAX_ANSWER_BYTES)):
        read(bytes(MAX_ANSWER_BYTES + 1))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_malformed(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        read(data)
