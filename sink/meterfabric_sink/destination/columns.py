"""The queryable columns of a record. They are a convenience beside the exact bytes, so nothing here ever refuses:
what isn't a CloudEvent, or what a column can't hold, becomes NULL.
"""

import json
from collections.abc import Sequence

import msgspec


class Columns(msgspec.Struct, frozen=True, gc=False):
    """The attributes of CloudEvents 1.0 (sections 3.1 and 3.2) that get a column.

    `time` is as written; `data` is JSON as it stands, empty where there is none.
    """

    id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: str | None = None
    time: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")


class _OnlyData(msgspec.Struct, frozen=True, gc=False):
    data: msgspec.Raw = msgspec.Raw(b"")


NOTHING = Columns()
ATTRIBUTES = ("id", "source", "type", "subject", "time")

_decode = msgspec.json.Decoder(Columns).decode
_decode_data = msgspec.json.Decoder(_OnlyData).decode

UNREADABLE = (ValueError, RecursionError)
"""What decoders raise for bytes that they can't read: msgspec's and Unicode's errors are ValueErrors."""


def columns(records: Sequence[bytes]) -> list[Columns]:
    """The columns of each record, in order; one C call a record as long as all of them are as they should be."""
    try:
        return list(map(_decode, records))
    except UNREADABLE:
        return [careful(record) for record in records]


def careful(record: bytes) -> Columns:
    """The columns of any bytes: each attribute by itself, so that one that is unfit doesn't hide the others."""
    try:
        return _decode(record)
    except UNREADABLE:
        pass
    try:
        event = json.loads(record, parse_int=_unread, parse_float=_unread)
    except UNREADABLE:
        return NOTHING
    if not isinstance(event, dict):
        return NOTHING
    try:
        data = _decode_data(record).data
    except UNREADABLE:
        data = NOTHING.data
    return Columns(**{name: _text(event.get(name)) for name in ATTRIBUTES}, data=data)


def _unread(_: str) -> None:
    """A number: not wanted here, and perhaps long enough to hurt."""


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return None
    return value
