"""Notices: one spelling each, no application can forge one."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol import notice as notices
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.limits import DEFAULT, NOTICE_AGAIN, NOTICE_RANGES, Limits
from meterfabric_protocol.merkle import MAX_SIZE
from meterfabric_protocol.notice import Again, Closed, Continues, Damaged, Opened, SinkLeft, decode, encode, is_notice
from meterfabric_protocol.record import RecordError, one
from tests.vectors.batch.generate import EVERY_NOTICE, vectors

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "batch" / "notices.json").read_text(encoding="utf-8"))


def test_the_vectors_are_what_the_code_makes() -> None:
    assert vectors()["notices.json"] == VECTORS


@pytest.mark.parametrize("notice", EVERY_NOTICE, ids=lambda notice: type(notice).__name__)
def test_every_notice_comes_back_from_its_leaf(notice: notices.Notice) -> None:
    leaf = encode(notice)
    assert is_notice(leaf)
    assert b"\n" not in leaf
    assert decode(leaf) == notice


@pytest.mark.parametrize("vector", VECTORS["taken"], ids=lambda vector: vector["leaf"][:30])
def test_the_vectors_leaves_are_taken(vector: dict[str, str]) -> None:
    leaf = vector["leaf"].encode()
    assert encode(decode(leaf)) == leaf


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["why"])
def test_the_vectors_malformed_leaves_are_refused(vector: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        decode(vector["leaf"].encode())


def test_no_record_is_a_notice() -> None:
    for notice in EVERY_NOTICE:
        with pytest.raises(RecordError):
            one(encode(notice))


def test_another_version_is_named() -> None:
    with pytest.raises(Malformed, match="version 2, this reader reads version 1"):
        decode(b'!{"notice":"unheard-of","v":2,"new":[]}')


@pytest.mark.parametrize(
    "notice",
    [
        Opened(log="a\n"),
        Opened(log="a" * 256),
        SinkLeft(log="a", sink="-s", size=1),
        SinkLeft(log="a", sink="s", size=MAX_SIZE + 1),
        Damaged(log="a", ranges=((0, 1),), cause="Hash failed"),
        Continues(log="a", previous="b", size=1, root=b"short", reason="restart"),
    ],
)
def test_what_no_reader_would_take_is_not_encoded(notice: notices.Notice) -> None:
    with pytest.raises(Malformed):
        encode(notice)


def test_heard_is_beyond_the_size_named() -> None:
    with pytest.raises(ValueError, match="heard 5 is not beyond size 5"):
        Continues(log="a", previous="b", size=5, root=bytes(32), heard=5, reason="rollback")


@pytest.mark.parametrize("again", [[(5, 6, 0)], [(5, 8, 1), (8, 9, 3)]])
def test_batches_that_stand_again_follow_each_other_behind_the_notice(again: list[tuple[int, int, int]]) -> None:
    batches = tuple(Again(first, size, at, bytes(32)) for first, size, at in again)
    with pytest.raises(ValueError, match="can't stand again"):
        Continues(log="a", previous="b", size=5, root=bytes(32), reason="equivocation", again=batches)


def test_the_largest_notices_fit_in_a_records_bytes() -> None:
    origin, high = "o" * 255, MAX_SIZE - 3 * NOTICE_RANGES
    ranges = tuple((high + 3 * i, high + 3 * i + 1) for i in range(NOTICE_RANGES))
    assert len(encode(Damaged(log=origin, ranges=ranges, cause="c" * 64))) <= DEFAULT.record_bytes
    again = tuple(Again(high + i, high + i + 1, high + i, bytes(32)) for i in range(NOTICE_AGAIN))
    largest = Continues(log=origin, previous=origin, size=high, root=bytes(32), reason="r" * 64, again=again)
    assert len(encode(largest)) <= DEFAULT.record_bytes
    with pytest.raises(Malformed):
        encode(Damaged(log=origin, ranges=(*ranges, (MAX_SIZE - 1, MAX_SIZE)), cause="hash"))


def test_a_notice_larger_than_a_record_is_refused_unread() -> None:
    leaf = encode(Closed(log="a", records=1))
    with pytest.raises(Malformed, match=f"{len(leaf)} bytes, at most 10"):
        decode(leaf, Limits(record_bytes=10))


@given(st.binary(max_size=100).map(lambda data: b"!" + data) | st.binary(max_size=20))
def test_any_bytes_are_a_notice_or_malformed(leaf: bytes) -> None:
    if (found := decoded(leaf)) is not None:
        assert encode(found) == leaf


@given(st.sampled_from(EVERY_NOTICE), st.data())
def test_a_changed_leaf_is_another_notice_or_malformed(notice: notices.Notice, data: st.DataObject) -> None:
    leaf = bytearray(encode(notice))
    at = data.draw(st.integers(0, len(leaf)))
    leaf[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2) | st.sampled_from([b" ", b"0"]))
    if bytes(leaf) == encode(notice):
        return
    found = decoded(bytes(leaf))
    assert found != notice
    assert found is None or encode(found) == leaf


@given(
    st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=9), st.sampled_from(EVERY_NOTICE)
)
def test_fields_of_any_type_are_malformed_or_taken(value: object, notice: notices.Notice) -> None:
    fields = json.loads(encode(notice)[1:])
    for name in fields:
        leaf = b"!" + msgspec.json.encode(fields | {name: value})
        if (found := decoded(leaf)) is not None:
            assert encode(found) == leaf


def decoded(leaf: bytes) -> notices.Notice | None:
    """The notice, None where the leaf is malformed."""
    try:
        return decode(leaf)
    except Malformed:
        return None
