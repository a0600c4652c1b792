"""Signed notes are taken in their one spelling, signed once by the wanted key, and in no other way."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.errors import BadSignature, Malformed, ProtocolError
from meterfabric_protocol.note import (
    ED25519,
    MAX_NAME_BYTES,
    MAX_SIGNATURES,
    Note,
    Signature,
    add_signatures,
    check_name,
    decode_decimal,
    decode_verifier_key,
    encode_verifier_key,
    key_id,
    parse_note,
    sign_note,
    verify_note,
)
from tests.vectors import make

CASES: Any = json.loads((make.FOLDER / "notes.json").read_bytes())
KEY = make.public_key("log")
SOUND = sign_note(b"Metered.\n", make.ORIGIN, make.LOG)

# The example of c2sp.org/signed-note, "Example".
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

line_text = st.text(st.characters(codec="utf-8", exclude_characters=[chr(c) for c in range(32)]))
texts = st.lists(line_text, min_size=1).map(lambda lines: "".join(f"{line}\n" for line in lines).encode())
names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Zs", "Zl", "Zp", "Cc"], exclude_characters="+"), min_size=1
)
names = names.filter(lambda name: len(name.encode()) <= MAX_NAME_BYTES)


def accept(data: bytes, name: str = make.ORIGIN, key: bytes = KEY) -> Note:
    note = parse_note(data, 4096)
    verify_note(note.text, note.signatures, name, key)
    return note


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_note_of_the_vectors_is_taken_or_refused_as_they_say(case: Any) -> None:
    data = case["note"].encode()
    if case["sound"]:
        assert accept(data).encode() == data
    else:
        with pytest.raises((Malformed, BadSignature)):
            accept(data)


def test_the_standards_own_example_verifies() -> None:
    name, algorithm, key = decode_verifier_key(EXAMPLE_KEY)
    assert algorithm == ED25519
    assert encode_verifier_key(name, algorithm, key) == EXAMPLE_KEY
    assert accept(EXAMPLE_NOTE, name, key).text == b"This is an example message.\n"


@given(texts, names)
def test_what_is_signed_is_read_back_and_verifies(text: bytes, name: str) -> None:
    signed = sign_note(text, name, make.LOG)
    note = parse_note(signed, len(signed))
    assert note.text == text
    assert note.encode() == signed
    verify_note(note.text, note.signatures, name, KEY)


@given(st.integers(0, 8 * len(SOUND) - 1))
def test_no_flipped_bit_goes_unseen(bit: int) -> None:
    flipped = bytearray(SOUND)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises((Malformed, BadSignature)):
        accept(bytes(flipped))


@given(st.binary() | st.lists(st.sampled_from(["\n", "— ", "a", " ", "+", "AAAAAAE=", "\0", "\u2003"])).map("".join))
def test_no_bytes_raise_anything_but_protocol_errors(data: bytes | str) -> None:
    data = data.encode() if isinstance(data, str) else data
    for read in (Signature.parse, accept):
        refused_or(read, data)


def refused_or(read: Callable[[bytes], object], data: bytes) -> None:
    try:
        read(data)
    except ProtocolError:
        return


def test_bytes_that_are_not_utf8_are_named() -> None:
    with pytest.raises(Malformed, match="note: not UTF-8 at byte 9"):
        parse_note(SOUND.replace(b"\n\n", b"\n\xff\n\n", 1), 4096)


def test_a_last_line_cut_short_is_malformed() -> None:
    with pytest.raises(Malformed, match="the last line has no newline"):
        parse_note(SOUND + SOUND.rpartition(b"\n\n")[2][:-1], 4096)


def test_a_note_has_at_most_the_bytes_its_reader_allows() -> None:
    assert parse_note(SOUND, len(SOUND)).encode() == SOUND
    with pytest.raises(Malformed, match=f"{len(SOUND)} bytes, at most {len(SOUND) - 1}"):
        parse_note(SOUND, len(SOUND) - 1)


def test_a_note_has_at_most_so_many_signatures() -> None:
    strangers = [Signature(f"s{index}", b"\0" * 4, b"\0").line() for index in range(MAX_SIGNATURES)]
    accept(add_signatures(SOUND, strangers[1:]))
    with pytest.raises(Malformed, match="33 signatures, at most 32"):
        parse_note(add_signatures(SOUND, strangers), 4096)


def test_a_note_carries_the_sixteen_signatures_that_every_reader_must_take() -> None:
    assert MAX_SIGNATURES >= 16


def test_the_wanted_key_must_have_signed_once() -> None:
    with pytest.raises(BadSignature, match="0 signatures by key"):
        accept(SOUND, make.ORIGIN, make.public_key("sink"))
    with pytest.raises(BadSignature, match="0 signatures by key"):
        accept(SOUND, "another-name", KEY)
    line = SOUND.rpartition(b"\n\n")[2]
    with pytest.raises(BadSignature, match="2 signatures by key"):
        accept(add_signatures(SOUND, [line]))


def test_a_line_that_only_claims_the_wanted_key_spoils_the_note() -> None:
    claim = Signature(make.ORIGIN, key_id(make.ORIGIN, ED25519, KEY), bytes(64)).line()
    with pytest.raises(BadSignature, match="the signature doesn't verify"):
        accept(b"Metered.\n\n" + claim)
    with pytest.raises(BadSignature, match="2 signatures"):
        accept(add_signatures(SOUND, [claim]))


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\u2028b", "a\tb", "a\x00b", "\ud800", "é" * 128]
)
def test_a_name_that_no_key_may_bear_is_refused(name: str) -> None:
    with pytest.raises(Malformed):
        check_name("key name", name)
    with pytest.raises(ValueError, match="key name"):
        sign_note(b"Metered.\n", name, make.LOG)


@pytest.mark.parametrize("text", [b"", b"Metered.", b"Metered.\r\n", b"\xff\n"])
def test_a_text_that_no_note_may_have_is_not_signed(text: bytes) -> None:
    with pytest.raises(ValueError, match="note"):
        sign_note(text, make.ORIGIN, make.LOG)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/foo",
        EXAMPLE_KEY[:-1],
        EXAMPLE_KEY.replace("530d903a", "530d903b"),
        EXAMPLE_KEY.replace("530d903a", "530D903A"),
        "example.com/foo+530d903a+AQ==",
    ],
)
def test_a_broken_verifier_key_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        decode_verifier_key(text)


@pytest.mark.parametrize("text", ["", "-1", "+1", "01", "1_0", " 1", "1 ", "٣", "1e3", "9223372036854775808", "9" * 30])
def test_a_number_has_one_spelling_and_a_bound(text: str) -> None:
    with pytest.raises(Malformed):
        decode_decimal("size", text)


def test_the_largest_number_is_read() -> None:
    assert decode_decimal("size", "9223372036854775807") == 2**63 - 1
    assert decode_decimal("size", "0") == 0
