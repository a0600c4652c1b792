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


class _Fields(dict[str | None, bytes]):
    """Whole text fields, for values that come again and again in a batch."""

    def __missing__(self, value: str | None) -> bytes:
        field = self[value] = _field(value)
        return field


_INT32 = Struct(">i").pack
_INT64 = Struct(">q").pack
_NULL = _INT32(-1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LENGTHS = _Lengths()
_decode = msgspec.json.Decoder(_Timed).decode


def chunks(origin: str, first: int, payload: bytes, caution: Caution) -> Iterator[bytes]:
    """The rows of one batch of records, some hundred a chunk, without header and trailer.

    `first` is the index of the first record, `payload` its records each followed by a line feed. Never raises for
    what a record holds.
    """
    raws = payload.split(b"\n")
    raws.pop()
    rows = _columns(payload, raws, caution)
    name = origin.encode()
    start = b"\0\x09" + _INT32(len(name)) + name + _INT32(8)
    for begin in range(0, len(raws), CHUNK_RECORDS):
        end = begin + CHUNK_RECORDS
        yield _encode(start, first + begin, raws[begin:end], rows[begin:end])


def _columns(payload: bytes, raws: Sequence[bytes], caution: Caution) -> list[_Timed]:
    if caution is Caution.ONLY_RAW:
        return [_Timed()] * len(raws)
    if caution is Caution.NONE and b"\\u0000" not in payload:
        try:
            payload.decode()  # msgspec leaves the inside of `data` unchecked
            rows = list(map(_decode, raws))
        except UNREADABLE:
            pass
        else:
            if max(map(len, raws), default=0) <= MAX_ID_BYTES or all(
                row.id is None or len(row.id.encode()) <= MAX_ID_BYTES for row in rows
            ):
                return rows
    return [_fit(careful(raw)) for raw in raws]


def _encode(start: bytes, first: int, raws: Sequence[bytes], rows: Sequence[_Timed]) -> bytes:
    field, lengths = _Fields(), _LENGTHS
    pieces: list[bytes | msgspec.Raw] = []
    for index, (raw, row) in enumerate(zip(raws, rows, strict=True), first):
        time, data = row.time, row.data
        pieces += (
            start,
            _INT64(index),
            _field(row.id),
            field[row.source],
            field[row.type],
            field[row.subject],
            _NULL if time is None else b"\0\0\0\x08" + _INT64((time - _EPOCH) // _MICROSECOND),
            # jsonb on the wire is a version byte and text.
            lengths[len(data) + 1] + b"\1" if data else _NULL,
            data,
            lengths[len(raw)],
            raw,
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
