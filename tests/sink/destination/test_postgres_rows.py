import json
import random
import struct
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_sink.destination.postgres_rows import CHUNK_RECORDS, MAX_ID_BYTES, Caution, chunks
from tests.sink.sink_logs import event

Row = tuple[str, int, str | None, str | None, str | None, str | None, int | None, bytes | None, bytes]


def _read(data: bytes) -> Iterator[Row]:
    """The rows of a binary COPY, read independently of what wrote them."""
    at = 0
    while at < len(data):
        (count,) = struct.unpack_from(">h", data, at)
        at += 2
        fields: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from(">i", data, at)
            at += 4
            fields.append(None if length < 0 else data[at : at + length])
            at += max(length, 0)
        origin, index, *texts, time, jsonb, raw = fields
        assert origin is not None
        assert index is not None
        assert raw is not None
        assert jsonb is None or jsonb[:1] == b"\1"
        one, two, three, four = [None if text is None else text.decode() for text in texts]
        instant = None if time is None else int.from_bytes(time, "big", signed=True)
        data_json = None if jsonb is None else jsonb[1:]
        yield origin.decode(), int.from_bytes(index, "big"), one, two, three, four, instant, data_json, raw


def _rows(records: Sequence[bytes], caution: Caution = Caution.NONE) -> list[Row]:
    payload = b"".join(record + b"\n" for record in records)
    return list(_read(b"".join(chunks("log", 7, payload, caution))))


def test_a_row_holds_the_columns_of_its_record() -> None:
    record = event(3, time="2000-01-01T00:00:01.000002+01:00")
    (row,) = _rows([record])
    assert row == (
        "log", 7, "event-3", "//meter", "cpu.seconds", "customer-3", -3_599_000_000 + 2,
        b'{"value":3,"unit":"s"}', record,
    )  # fmt: skip


def test_rows_are_numbered_through_all_chunks() -> None:
    records = [event(number) for number in range(CHUNK_RECORDS * 2 + 5)]
    assert [(row[1] - 7, row[2], row[8]) for row in _rows(records)] == [
        (number, f"event-{number}", record) for number, record in enumerate(records)
    ]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (b'{"id":"a","source":"\\u0000"}', ("a", None, None)),
        (b'{"id":"a","source":"s","data":"\\u0000"}', ("a", "s", None)),
        (b'{"id":"a","source":"s","data":"\\\\u0000"}', ("a", "s", b'"\\\\u0000"')),
        (b'{"id":"a","source":"s","data":"\\\\\\u0000"}', ("a", "s", None)),
        (b'{"id":"a","source":"s","data":"\\ud83d\\ude00"}', ("a", "s", b'"\\ud83d\\ude00"')),
        (b'{"id":"a","source":"s","data":"\\ud83d"}', ("a", "s", None)),
        (b'{"id":"a","source":"s","data":"\xff"}', ("a", "s", None)),
        (b'{"id":"a","source":7,"data":1}', ("a", None, b"1")),
        (b'{"id":"%b","source":"s"}' % (b"x" * (MAX_ID_BYTES + 1)), (None, "s", None)),
        (b'{"id":"%b","source":"s"}' % (b"x" * MAX_ID_BYTES), ("x" * MAX_ID_BYTES, "s", None)),
        (b"[]", (None, None, None)),
        (b"", (None, None, None)),
    ],
)
def test_what_a_column_cannot_hold_is_null_and_the_rest_stays(record: bytes, expected: tuple[object, ...]) -> None:
    first, odd, last = _rows([event(1), record, event(2)])
    assert (odd[2], odd[3], odd[7]) == expected
    assert odd[8] == record
    assert (first[2], last[2]) == ("event-1", "event-2")


@pytest.mark.parametrize("number", ["1e999999", "-1E+200000", "1e-99999", "9" * 100_000, "0." + "9" * 100_000])
def test_a_number_beyond_numeric_is_null_once_caution_is_asked_for(number: str) -> None:
    record = b'{"id":"a","data":[%b]}' % number.encode()
    assert _rows([record], Caution.EACH_RECORD)[0][7] is None
    assert _rows([b'{"id":"a","data":[1e300,-0.5E-3]}'], Caution.EACH_RECORD)[0][7] == b"[1e300,-0.5E-3]"


@pytest.mark.parametrize(
    "time", ["0000-01-01T00:00:00Z", "now", "infinity", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"]
)
def test_a_time_that_is_not_rfc_3339_is_null(time: str) -> None:
    record = json.dumps({"id": "a", "time": time}).encode()
    assert [(row[2], row[6]) for row in _rows([record])] == [("a", None)]


def test_with_most_caution_only_the_bytes_are_kept() -> None:
    record = event(1)
    assert _rows([record], Caution.ONLY_RAW) == [("log", 7, None, None, None, None, None, None, record)]


@given(
    st.lists(st.binary(max_size=60).map(lambda data: data.replace(b"\n", b" ")), max_size=8), st.sampled_from(Caution)
)
def test_any_bytes_become_rows(records: list[bytes], caution: Caution) -> None:
    rows = _rows(records, caution)
    assert [row[8] for row in rows] == records
    assert all("\0" not in (text or "") for row in rows for text in row[2:6])


_json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_names = st.sampled_from(["id", "source", "type", "subject", "time", "data", "other"])


@given(st.lists(st.dictionaries(_names, _json), min_size=1, max_size=4), st.booleans())
def test_any_json_becomes_the_same_rows_with_and_without_caution(events: list[dict[str, object]], ascii: bool) -> None:
    records = [json.dumps(each, ensure_ascii=ascii).encode("utf-8", "surrogatepass") for each in events]
    assert _rows(records) == _rows(records, Caution.EACH_RECORD)


def test_a_shuffle_of_good_and_bad_records_keeps_each_with_its_own_columns() -> None:
    records = [event(number) if number % 3 else b"bad %d" % number for number in range(400)]
    random.Random(4).shuffle(records)
    for row, record in zip(_rows(records), records, strict=True):
        assert row[2] == (None if record.startswith(b"bad") else json.loads(record)["id"])
