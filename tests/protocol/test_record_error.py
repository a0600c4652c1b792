"""Refusals, as their reader sees them."""

from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.record_error import SHOWN_CHARACTERS, RecordError, shown


def test_an_error_reads_as_record_field_reason_and_value() -> None:
    error = RecordError("is required", index=3, field="id", value="x")
    assert str(error) == "record 3: id: is required (seen: x)"
    assert str(RecordError("no JSON")) == "no JSON"


def test_only_a_limit_of_no_single_field_means_too_large() -> None:
    assert RecordError("large", limit=5).too_large
    assert not RecordError("long", limit=5, field="id").too_large
    assert not RecordError("wrong").too_large


def test_a_value_is_shown_on_one_line() -> None:
    assert shown(b"a\nb\xff\x00") == "a\\u000ab\ufffd\\u0000"


@given(st.binary() | st.text(st.characters()))
def test_a_value_is_shown_short_and_printable(value: bytes | str) -> None:
    line = shown(value)
    assert len(line) <= SHOWN_CHARACTERS
    assert line.isprintable()
