"""A receipt verifies for its checkpoint, its time and its sink, and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.checkpoint import parse
from meterfabric_protocol.cosignature import COSIGNATURE, MAX_TIME, cosign, verify, verify_among
from meterfabric_protocol.errors import BadSignature, Malformed, ProtocolError
from meterfabric_protocol.note import ED25519, Signature, key_id
from tests.vectors import make

TEXT = make.checkpoint().text()
KEY = make.public_key("sink")
LINE = cosign(TEXT, make.SINK_NAME, make.SINK, make.TIME)


def test_the_vectors_receipt_verifies() -> None:
    signed = parse((make.FOLDER / "cosigned.note").read_bytes())
    assert verify_among(signed.text, signed.signatures, make.SINK_NAME, KEY) == make.TIME


@given(st.integers(0, MAX_TIME))
def test_the_time_is_read_back(time: int) -> None:
    assert verify(TEXT, cosign(TEXT, make.SINK_NAME, make.SINK, time), make.SINK_NAME, KEY) == time


@given(st.integers(0, 8 * len(LINE) - 1))
def test_no_flipped_bit_goes_unseen(bit: int) -> None:
    flipped = bytearray(LINE)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises((Malformed, BadSignature)):
        verify(TEXT, bytes(flipped), make.SINK_NAME, KEY)


@given(st.binary())
def test_no_bytes_raise_anything_but_protocol_errors(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        verify(TEXT, data, make.SINK_NAME, KEY)


def test_a_receipt_is_for_one_checkpoint() -> None:
    with pytest.raises(BadSignature, match="doesn't verify"):
        verify(TEXT.replace(b"first 5", b"first 6"), LINE, make.SINK_NAME, KEY)


def test_a_receipt_is_from_one_sink() -> None:
    with pytest.raises(BadSignature, match="0 signatures"):
        verify(TEXT, LINE, "billing.meters/sink/archive", KEY)
    with pytest.raises(BadSignature, match="0 signatures"):
        verify(TEXT, LINE, make.SINK_NAME, make.public_key("log"))


def test_a_plain_signature_of_the_same_key_is_no_receipt() -> None:
    signature = make.SINK.sign(TEXT)
    plain = Signature(make.SINK_NAME, key_id(make.SINK_NAME, ED25519, KEY), signature).line()
    with pytest.raises(BadSignature, match="0 signatures"):
        verify(TEXT, plain, make.SINK_NAME, KEY)


def test_a_receipt_without_its_time_is_refused() -> None:
    short = Signature(make.SINK_NAME, key_id(make.SINK_NAME, COSIGNATURE, KEY), make.SINK.sign(TEXT)).line()
    with pytest.raises(BadSignature, match="64 bytes, not 72"):
        verify(TEXT, short, make.SINK_NAME, KEY)


def test_a_time_beyond_the_standards_bound_is_refused_though_signed() -> None:
    time = MAX_TIME + 1
    value = time.to_bytes(8) + make.SINK.sign(b"cosignature/v1\ntime %d\n%b" % (time, TEXT))
    line = Signature(make.SINK_NAME, key_id(make.SINK_NAME, COSIGNATURE, KEY), value).line()
    with pytest.raises(BadSignature, match="a time beyond"):
        verify(TEXT, line, make.SINK_NAME, KEY)


def test_a_receipt_given_twice_is_refused() -> None:
    signature = Signature.parse(LINE)
    with pytest.raises(BadSignature, match="2 signatures"):
        verify_among(TEXT, (signature, signature), make.SINK_NAME, KEY)


@pytest.mark.parametrize(("name", "time"), [("a b", 0), (make.SINK_NAME, -1), (make.SINK_NAME, MAX_TIME + 1)])
def test_what_no_receipt_can_say_is_not_signed(name: str, time: int) -> None:
    with pytest.raises(ValueError, match=r"cosigner|time"):
        cosign(TEXT, name, make.SINK, time)
