"""Records as rows of PostgreSQL's binary COPY format (PostgreSQL manual, COPY, "Binary Format"), built at C speed.

What PostgreSQL can't hold in a column is decided here, before COPY: text never holds U+0000, an index entry has a
limit, jsonb knows no U+0000 and no number beyond `numeric`. Whole batches are checked at once for the few byte
sequences that could mean trouble; only a batch that shows one is looked at record by record. Should PostgreSQL
still refuse a row, the caller asks again with more `caution`.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from struct import Struct
from typing import Annotated

import msgspec

from .columns import NOTHING, UNREADABLE, Columns, careful

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
COLUMNS = "origin, idx, id, source, type, subject, time, data, raw"
CHUNK_RECORDS = 256
MAX_ID_BYTES = 1024  # a btree entry holds 2704 bytes
MAX_NUMBER = 8000  # digits, and exponent; numeric holds 131072 digits before the point and 16383 after it


class Caution(IntEnum):
    """How far the records of a batch are trusted to fit their columns."""

    NONE = 0
    EACH_RECORD = 1
    ONLY_RAW = 2


class _Timed(msgspec.Struct, frozen=True, gc=False):
    id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: str | None = None
    time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


class _Lengths(dict[int, bytes]):
    """The four bytes before a field of so many bytes."""

    def __missing__(self, length: int) -> bytes:
        value = self[length] = _INT32(length)
        return value


class _Versioned(dict[int, bytes]):
    """The bytes before so many bytes of JSON: jsonb on the wire is a version byte and text. No JSON is NULL."""

    def __missing__(self, length: int) -> bytes:
        value = self[length] = _INT32(length + 1) + b"\1" if length else _NULL
        return value


class _Fields(dict[str | None, bytes]):
    """Whole text fields, for values that come again and again in a batch."""

    def __missing__(self, value: str | None) -> bytes:
        field = self[value] = _field(value)
        return field


_INT32 = Struct(">i").pack
_INT64 = Struct(">q").pack
_INT32_INT64 = Struct(">iq").pack
_NULL = _INT32(-1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LENGTHS = _Lengths()
_VERSIONED = _Versioned()
_decode = msgspec.json.Decoder(_Timed).decode


def chunks(origin: str, first: int, payload: bytes, caution: Caution) -> Iterator[bytes]:
    """The rows of one batch of records, some hundred a chunk, without header and trailer.

    `first` is the index of the first record, `payload` its records each followed by a line feed. Never raises for
    what a record holds.
    """
    raws = payload.split(b"\n")
    raws.pop()
    if caution is Caution.NONE and not _looks_plain(payload):
        caution = Caution.EACH_RECORD
    name = origin.encode()
    start = b"\0\x09" + _INT32(len(name)) + name + _INT32(8)
    for begin in range(0, len(raws), CHUNK_RECORDS):
        part = raws[begin : begin + CHUNK_RECORDS]
        yield _encode(start, first + begin, part, _columns(part, caution))


def fields(raw: bytes) -> tuple[str | None, str | None, str | None, str | None, datetime | None, str | None]:
    """What stands in the columns id, source, type, subject, time and data for this record, data as JSON text."""
    row = _fit(careful(raw))
    return row.id, row.source, row.type, row.subject, row.time, str(row.data, "utf-8") if row.data else None


def _looks_plain(payload: bytes) -> bool:
    """Whether no record of the batch can hold what PostgreSQL's text and jsonb can't, but for numbers."""
    try:
        payload.decode()  # msgspec leaves the inside of `data` unchecked
    except UnicodeDecodeError:
        return False
    return b"\\u0000" not in payload


def _columns(raws: Sequence[bytes], caution: Caution) -> list[_Timed]:
    if caution is Caution.ONLY_RAW:
        return [_Timed()] * len(raws)
    if caution is Caution.NONE:
        try:
            rows = list(map(_decode, raws))
        except UNREADABLE:
            pass
        else:
            if max(map(len, raws)) <= MAX_ID_BYTES or all(_short(row.id) == row.id for row in rows):
                return rows
    return [_fit(careful(raw)) for raw in raws]


def _encode(start: bytes, first: int, raws: Sequence[bytes], rows: Sequence[_Timed]) -> bytes:
    field, lengths, versioned = _Fields(), _LENGTHS, _VERSIONED
    pieces: list[bytes | msgspec.Raw] = []
    add = pieces.extend
    # One bare loop: at some hundred thousand rows a second every call in it counts.
    for index, raw, row in zip(range(first, first + len(raws)), raws, rows, strict=True):
        name, time, data = row.id, row.time, row.data
        unique = _NULL if name is None else name.encode()
        add(
            (
                start,
                _INT64(index),
                b"" if name is None else lengths[len(unique)],
                unique,
                field[row.source],
                field[row.type],
                field[row.subject],
                _NULL if time is None else _INT32_INT64(8, (time - _EPOCH) // _MICROSECOND),
                versioned[len(data)],
                data,
                lengths[len(raw)],
                raw,
            )
        )
    return b"".join(pieces)


def _field(value: str | None) -> bytes:
    if value is None:
        return _NULL
    encoded = value.encode()
    return _LENGTHS[len(encoded)] + encoded


def _fit(row: Columns) -> _Timed:
    return _Timed(
        _short(_text(row.id)),
        _text(row.source),
        _text(row.type),
        _text(row.subject),
        _instant(row.time),
        row.data if _jsonb_holds(row.data) else NOTHING.data,
    )


def _text(value: str | None) -> str | None:
    return None if value is None or "\0" in value else value


def _short(value: str | None) -> str | None:
    return None if value is None or len(value.encode()) > MAX_ID_BYTES else value


def _instant(value: str | None) -> datetime | None:
    try:
        return msgspec.convert({"time": value}, _Timed).time
    except UNREADABLE:
        return None


def _jsonb_holds(data: msgspec.Raw) -> bool:
    try:
        text = str(data, "utf-8")
        if "\\u0000" in text.replace("\\\\", ""):
            return False
        json.loads(text, parse_int=_number, parse_float=_number)
    except UNREADABLE:
        return False
    return True


def _number(literal: str) -> None:
    mantissa, _, exponent = literal.lower().partition("e")
    if len(mantissa) > MAX_NUMBER or len(exponent) > 6 or abs(int(exponent or 0)) > MAX_NUMBER:
        raise ValueError
