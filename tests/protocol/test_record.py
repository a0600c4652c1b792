"""Records: what is taken, byte for byte, what is refused and in which words."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.limits import ATTRIBUTE_CHARACTERS, Limits
from meterfabric_protocol.merkle import leaf_hash, leaf_hashes
from meterfabric_protocol.record import RecordError, Split, one, split_array, split_lines

PLAIN = {"specversion": "1.0", "id": "1", "source": "urn:meter", "type": "cpu"}
FORMS = ("lines", "array", "one")


def record(**more: Any) -> bytes:
    return json.dumps(PLAIN | more, separators=(",", ":")).encode()


def raw(tail: bytes) -> bytes:
    """A record whose JSON text ends in `tail`, spelled as given."""
    return b'{"specversion":"1.0","id":"1","source":"s","type":"t",' + tail + b"}"


def split(form: str, last: bytes) -> tuple[Split, int]:
    """Read `last` in one form of body, behind a good record where the form takes several; and its index there."""
    if form == "lines":
        return split_lines(record() + b"\n" + last + b"\n"), 1
    if form == "array":
        return split_array(b"[" + record() + b"," + last + b"]"), 1
    return one(last), 0


def refusal(form: str, last: bytes) -> RecordError:
    with pytest.raises(RecordError) as caught:
        split(form, last)
    return caught.value


def outcome(read: Callable[[bytes], Split], body: bytes) -> Split | RecordError:
    """What comes of a body, be it the error."""
    try:
        return read(body)
    except RecordError as error:
        return error


# What is taken


def test_lines_are_kept_byte_for_byte() -> None:
    spaced = b'{ "type":"t",\t"id" : "\\u00e9","specversion":"1.0","source":"s", "data" : {"a": 1.50} }'
    body = record() + b"\n" + spaced + b"\n"
    split = split_lines(body)
    assert (split.records, split.keys) == ([record(), spaced], ["urn:meter\x1f1", "s\x1fé"])
    assert split.payload == record() + b"\n" + spaced + b"\n"
    assert split.hashes == leaf_hashes(split.records)


def test_a_body_of_lines_needs_no_last_newline_and_skips_blank_lines() -> None:
    body = b"\n  \n" + record(id="a") + b"\r\n\r\n\t" + record(id="b") + b" "
    assert split_lines(body).records == [record(id="a"), record(id="b")]


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\t"])
def test_a_body_of_no_lines_holds_no_records(body: bytes) -> None:
    assert split_lines(body) == Split(b"", [], b"")


def test_an_empty_array_holds_no_records() -> None:
    assert split_array(b" [ ] ") == Split(b"", [], b"")


def test_newlines_between_tokens_become_spaces() -> None:
    pretty = json.dumps(PLAIN | {"data": {"a": [1, 2]}}, indent=1).encode()
    flat = pretty.replace(b"\n", b" ")
    assert one(b"\n" + pretty + b"\n").records == [flat]
    assert split_array(b"[\n" + pretty + b"\n,\r\n" + pretty.replace(b"\n", b"\r\n") + b"\n]").records == [
        flat,
        pretty.replace(b"\n", b"  "),
    ]


def test_carriage_returns_within_a_line_become_spaces() -> None:
    assert split_lines(raw(b'\r"subject":"x"') + b"\r\n").records == [raw(b' "subject":"x"')]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "tail",
    [
        b'"data":null',
        b'"data":"\\u0000\\ud83d\\ude00"',
        b'"data":1e999999',
        b'"data":' + b"9" * 5000,
        b'"data":' + b"[" * 500 + b"]" * 500,
        b'"data":{"a":1,"a":2}',
        b'"data_base64":"AAEC"',
        b'"data_base64":null,"data":1',
        b'"subject":null,"time":null,"datacontenttype":null,"dataschema":null,"traceparent":null',
        b'"time":"2026-11-24T06:30:00Z"',
        b'"time":"2026-11-24T06:30:00.123456789+05:30"',
        b'"traceparent":"00-0af7","sampled":true,"sequence":-2147483648,"0":2147483647',
        b'"x":"\xc3\xa9","subject":"caf\xc3\xa9 \xf0\x9f\x98\x80"',
        b'"subject":"a\\/b\\\\c\\"d"',
        b'"datacontenttype":"application/json","dataschema":"https://example.com/schema"',
    ],
)
def test_what_cloudevents_allows_is_taken_as_it_is(form: str, tail: bytes) -> None:
    result, index = split(form, raw(tail))
    assert result.records[index] == raw(tail)


@pytest.mark.parametrize("form", FORMS)
def test_of_a_key_that_stands_twice_the_last_one_counts(form: str) -> None:
    result, index = split(form, raw(b'"id":"2","\\u0069d":"3"'))
    assert result.keys[index] == "s\x1f3"


def test_an_attribute_may_be_as_long_as_the_limit() -> None:
    longest = "é" * ATTRIBUTE_CHARACTERS
    assert one(record(id=longest)).keys == [f"urn:meter\x1f{longest}"]


# What is refused


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("tail", "field", "detail"),
    [
        (b'"specversion":"0.3"', "specversion", "Invalid enum value"),
        (b'"id":""', "id", "length >= 1"),
        (b'"id":7', "id", "got `int`"),
        (b'"source":null', "source", "got `null`"),
        (b'"type":["t"]', "type", "got `array`"),
        (b'"subject":""', "subject", "length >= 1"),
        (b'"time":"yesterday"', "time", "RFC3339"),
        (b'"time":"2026-11-24T06:30:00"', "time", "timezone"),
        (b'"time":"2016-12-31T23:59:60Z"', "time", "RFC3339"),
        (b'"id":"a\\u001fb"', "id", "control character"),
        (b'"source":"a\\nb"', "source", "control character"),
        (b'"type":"a\x7fb"', "type", "control character"),
        (b'"subject":"a\\u0000"', "subject", "control character"),
        (b'"subject":"a\xc2\x85b"', "subject", "control character"),
        (b'"subject":"a\\uffff"', "subject", "noncharacter"),
        (b'"dataschema":"a\\udbff\\udfff"', "dataschema", "noncharacter"),
        (b'"datacontenttype":"\\t"', "datacontenttype", "control character"),
        (b'"data":1,"data_base64":"AA=="', "data_base64", "beside data"),
        (b'"data":null,"data_base64":"AA=="', "data_base64", "beside data"),
        (b'"data_base64":"A"', "data_base64", "base64"),
        (b'"data_base64":"_-8="', "data_base64", "base64"),
        (b'"Trace":"x"', "Trace", "lower-case letters and digits"),
        (b'"trace-id":"x"', "trace-id", "lower-case letters and digits"),
        (b'"":"x"', "", "lower-case letters and digits"),
        (b'"price":1.5', "price", "32-bit integer"),
        (b'"count":2147483648', "count", "32-bit integer"),
        (b'"tags":["a"]', "tags", "32-bit integer"),
        (b'"extra":{}', "extra", "32-bit integer"),
        (b'"note":"a\\u0007"', "note", "32-bit integer"),
    ],
)
def test_a_broken_rule_is_named_with_record_and_field(form: str, tail: bytes, field: str, detail: str) -> None:
    error = refusal(form, raw(tail))
    assert error.index == (0 if form == "one" else 1)
    assert error.field == field
    assert detail in error.detail
    assert not error.too_large


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("field", ["specversion", "id", "source", "type"])
def test_a_missing_attribute_is_named(form: str, field: str) -> None:
    error = refusal(form, json.dumps({k: v for k, v in PLAIN.items() if k != field}).encode())
    assert (error.field, error.detail) == (field, "is required")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "tail",
    [
        b'"data":"\xff"',
        b'"x":"\xff"',
        b'"id":"\xff"',
        b'"data":"\xed\xa0\x80"',
        b'"data":"\xc0\x80"',
        b'"\xff":"x"',
    ],
)
def test_what_is_not_utf8_is_refused_also_where_nothing_is_decoded(form: str, tail: bytes) -> None:
    error = refusal(form, raw(tail))
    assert error.index == (0 if form == "one" else 1)
    assert "is not UTF-8 at byte" in error.detail
    assert error.value is not None
    assert error.value.startswith("bytes ")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "tail",
    [
        b'"data":"a\nb"',
        b'"data":"a\rb"',
        b'"x":"a\x00b"',
        b'"id":"a\tb"',
        b'"data":"\\ud800"',
        b'"data":"\\udc00\\ud800"',
        b'"x":"\\ud800\\u0041"',
        b'"id":"\\udfff"',
        b'"data":"\\q"',
        b'"data":NaN',
        b'"data":01',
        b'"data":1,',
        b'"data":\x0c1',
        b"'data':1",
        b'"data":' + b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_is_not_json_is_refused(form: str, tail: bytes) -> None:
    error = refusal(form, raw(tail))
    assert error.field is None
    assert not error.too_large


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [b"1", b'"x"', b"null", b"[]", b"{}"])
def test_what_is_no_event_is_refused(form: str, value: bytes) -> None:
    assert refusal(form, value).index == (0 if form == "one" else 1)


def test_a_byte_order_mark_is_refused() -> None:
    for read in (split_lines, one):
        with pytest.raises(RecordError):
            read(b"\xef\xbb\xbf" + record())


def test_two_records_on_one_line_are_refused() -> None:
    with pytest.raises(RecordError, match="trailing characters") as caught:
        split_lines(record() + b"\n" + record() + record())
    assert caught.value.index == 1


def test_a_record_broken_over_lines_is_refused_even_where_the_counts_agree() -> None:
    broken = b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{}\n,"subject":"x"}'
    for body in (record() + record() + b"\n" + broken, broken + b"\n" + record() + record()):
        with pytest.raises(RecordError):
            split_lines(body)


def test_an_object_is_no_array_and_an_array_no_object() -> None:
    with pytest.raises(RecordError, match="array") as caught:
        split_array(record())
    assert caught.value.index is None
    with pytest.raises(RecordError, match="object"):
        one(b"[" + record() + b"]")


def test_where_an_array_is_malformed_its_surroundings_are_shown() -> None:
    with pytest.raises(RecordError) as caught:
        split_array(b"[" + record() + b"," + record(type="guilty")[:-1] + b",]")
    assert caught.value.value is not None
    assert "guilty" in caught.value.value


# Limits


def test_a_record_may_be_as_large_as_the_limit_and_no_larger() -> None:
    limits = Limits(record_bytes=len(record()))
    assert split_lines(record(), limits).records == [record()]
    larger = record(id="12")
    for read, body in ((split_lines, larger), (split_array, b"[" + larger + b"]"), (one, larger)):
        with pytest.raises(RecordError) as caught:
            read(body, limits)
        error = caught.value
        assert (error.index, error.limit, error.value) == (0, limits.record_bytes, f"{len(larger)} bytes")
        assert error.too_large


def test_a_body_may_hold_as_many_records_as_a_batch() -> None:
    limits = Limits(batch_records=2)
    assert len(split_lines(record() + b"\n" + record(), limits).records) == 2
    with pytest.raises(RecordError) as caught:
        split_array(b"[" + b",".join([record()] * 3) + b"]", limits)
    assert (caught.value.index, caught.value.limit, caught.value.value) == (None, 2, "3 records")
    assert caught.value.too_large


def test_a_body_may_hold_as_many_bytes_as_a_batch() -> None:
    limits = Limits(batch_bytes=2 * len(record()) + 2)
    assert len(split_lines(record() + b"\n" + record(), limits).records) == 2
    with pytest.raises(RecordError) as caught:
        split_lines(b"\n".join([record()] * 3), limits)
    assert (caught.value.index, caught.value.limit) == (None, limits.batch_bytes)


def test_too_long_an_attribute_is_named_with_its_limit() -> None:
    with pytest.raises(RecordError) as caught:
        one(record(id="x" * (ATTRIBUTE_CHARACTERS + 1)))
    error = caught.value
    assert (error.field, error.limit) == ("id", ATTRIBUTE_CHARACTERS)
    assert not error.too_large


# Laws

text = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn")), min_size=1, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
events = st.fixed_dictionaries(
    {"specversion": st.just("1.0"), "id": text, "source": text, "type": text},
    optional={
        "subject": text,
        "time": st.datetimes().map(lambda time: time.isoformat() + "+01:00"),
        "data": values,
        "ext1": st.none() | st.booleans() | text | st.integers(-(2**31), 2**31 - 1),
    },
)


@st.composite
def spelled(draw: st.DrawFn) -> tuple[bytes, str]:
    """A record in some spelling of its JSON, and its key."""
    event = draw(events)
    spelling = json.dumps(
        event, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])), sort_keys=draw(st.booleans())
    )
    return spelling.encode(), f"{event['source']}\x1f{event['id']}"


@given(st.lists(spelled(), max_size=5))
def test_good_records_come_through_every_form_of_body(drawn: list[tuple[bytes, str]]) -> None:
    records = [data.replace(b"\n", b" ") for data, _ in drawn]
    keys = [key for _, key in drawn]
    split = Split(b"".join(record + b"\n" for record in records), keys, leaf_hashes(records))
    assert split_lines(b"\n".join(records)) == split
    assert split_lines(b"\r\n".join(records) + b"\r\n") == split
    assert split_array(b"[" + b",".join(data for data, _ in drawn) + b"]") == split
    for (data, key), flat in zip(drawn, records, strict=True):
        assert one(data) == (flat + b"\n", [key], leaf_hash(flat))


@given(st.lists(spelled(), min_size=1, max_size=3), st.data())
def test_a_body_is_taken_only_where_each_of_its_records_is(drawn: list[tuple[bytes, str]], data: st.DataObject) -> None:
    body = bytearray(b"\n".join(item.replace(b"\n", b" ") for item, _ in drawn))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    result = outcome(split_lines, bytes(body))
    if isinstance(result, RecordError):
        lines = [line for line in bytes(body).split(b"\n") if line.strip(b" \t\r")]
        assert result.index is not None
        assert isinstance(outcome(one, lines[result.index]), RecordError)
        return
    for kept, key in zip(result.records, result.keys, strict=True):
        assert b"\n" not in kept
        assert b"\r" not in kept
        assert one(kept) == (kept + b"\n", [key], leaf_hash(kept))
        event = json.loads(kept)
        assert key == f"{event['source']}\x1f{event['id']}"


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused_with_one_error(body: bytes) -> None:
    for read in (split_lines, split_array, one):
        assert str(outcome(read, body))
