"""A record: one usage event, a CloudEvents 1.0 JSON event that is kept byte for byte.

Records come in bodies of many. A whole body is validated in a few calls into C, so that no Python runs per record but
one comprehension; only a body that is refused is looked at record by record, to name the culprit.

What is enforced (CloudEvents 1.0.2 section 3, JSON format sections 2 and 3):

- `specversion` is "1.0"; `id`, `source`, `type` are strings, not empty.
- `subject`, `datacontenttype`, `dataschema`, where they stand, are strings, not empty; `time` is RFC 3339 with an
  offset and no leap second (none has a place in a datetime). A null attribute is an absent one.
- Each of these is at most ATTRIBUTE_CHARACTERS long; no string attribute holds control characters or noncharacters.
- `data` and `data_base64` don't come together; the latter is base64 (RFC 4648 section 4).
- Names of extension attributes are lower-case letters and digits; their values are strings, booleans, 32-bit integers.
- The text is JSON (RFC 8259) in UTF-8 without a byte order mark; escapes of lone surrogates are refused anywhere.

What is not: `data` is any JSON. Numbers in it may be huge, strings may hold `\\u0000`. Of a key that stands twice, the
last one counts, here and in every reader of ours. Nesting is bounded by the decoder's stack: 500 levels always pass,
100,000 never do. That `source` and `dataschema` are URIs is the sender's affair.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from .binary_mode import from_binary
from .limits import ATTRIBUTE_CHARACTERS, DEFAULT, Limits
from .merkle import line_hashes
from .record_error import RecordError, explain, shown

__all__ = ["Event", "RecordError", "Split", "from_binary", "one", "split_array", "split_lines"]

Attribute: TypeAlias = Annotated[str, Meta(min_length=1, max_length=ATTRIBUTE_CHARACTERS)]
_Extension: TypeAlias = str | bool | Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None


class Event(msgspec.Struct, gc=False):
    """A record's context attributes; `data` is the value's own bytes in the record."""

    specversion: Literal["1.0"]
    id: Attribute
    source: Attribute
    type: Attribute
    subject: Attribute | None = None
    time: Annotated[datetime, Meta(tz=True)] | None = None
    datacontenttype: Attribute | None = None
    dataschema: Attribute | None = None
    data: Raw | UnsetType = UNSET
    data_base64: bytes | None = None


class _PlainEvent(Event, forbid_unknown_fields=True, gc=False):
    """An event without extension attributes, the usual one."""


class Split(NamedTuple):
    """A body's records as the payload of a batch (each followed by a newline), each one's key `source + "\\x1f" + id`,
    and their leaf hashes, 32 bytes each."""

    payload: bytes
    keys: list[str]
    hashes: bytes

    @property
    def records(self) -> list[bytes]:
        """The records one by one."""
        return self.payload.split(b"\n")[:-1]


class _Form(NamedTuple):
    """The decoders of one form of body."""

    plain: Callable[[bytes], Sequence[Event]]
    any: Callable[[bytes], Sequence[Event]]
    dicts: Callable[[bytes], Sequence[Mapping[str, Raw]]]


_OPEN: Final = msgspec.json.Decoder(Event)
_DICT: Final = msgspec.json.Decoder(dict[str, Raw])
_LINES: Final = _Form(msgspec.json.Decoder(_PlainEvent).decode_lines, _OPEN.decode_lines, _DICT.decode_lines)
_ARRAY: Final = _Form(
    msgspec.json.Decoder(list[_PlainEvent]).decode,
    msgspec.json.Decoder(list[Event]).decode,
    msgspec.json.Decoder(list[dict[str, Raw]]).decode,
)
_RAW_ARRAY: Final = msgspec.json.Decoder(list[Raw])
_EXTENSIONS: Final = msgspec.json.Decoder(list[_Extension])

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ATTRIBUTES: Final = frozenset(Event.__struct_fields__)
_NAME: Final = re.compile("[a-z0-9]+")
_BETWEEN: Final = "\x1f"
_SPACE: Final = b" \t\r\n"
_FOLDED: Final = bytes.maketrans(b"\r\n", b"  ")
_CONTROLS: Final = bytes([*range(0x20), 0x7F])
# CloudEvents 1.0.2 section 3.1, type String: what may not stand in an attribute.
_PLANE_ENDS: Final = "".join(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_BARRED: Final = re.compile(f"[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef{_PLANE_ENDS}]")


def split_lines(body: bytes, limits: Limits = DEFAULT) -> Split:
    """The records of NDJSON: one a line, LF or CRLF, blank lines skipped.

    Raises RecordError. A record that spans lines is refused here, for a line is a record.
    """
    events = _events(body, _LINES)
    payload = body if body.endswith(b"\n") else body + b"\n"
    # The decoder asks for no newline between values: {…}{…} on one line could hide a record that is broken over two.
    # But where every line is {…} outwardly, none ends within a record (after an inner } no { can follow), and as many
    # lines as events are one each.
    if events is not None and b"\r" not in body:
        hashes = _hashes(payload, len(events), limits)
        if hashes is not None:
            return _split(payload, events, hashes, limits)
    lines = [line for line in (line.strip(_SPACE) for line in body.split(b"\n")) if line]
    whole = all(line[0] == ord("{") and line[-1] == ord("}") for line in lines)
    if events is None or len(lines) != len(events) or not whole:
        raise _culprit(lines)
    return _joined(body, lines, events, limits)


def split_array(body: bytes, limits: Limits = DEFAULT) -> Split:
    """The records of a JSON array (CloudEvents JSON format section 4); newlines between tokens become spaces.

    Raises RecordError.
    """
    try:
        records = list(map(bytes, _RAW_ARRAY.decode(body)))
    except _UNREADABLE as error:
        raise explain(error, body) from None
    events = _events(body, _ARRAY)
    if events is None:
        raise _culprit(records)
    return _joined(body, records, events, limits)


def one(body: bytes, limits: Limits = DEFAULT) -> Split:
    """The one record of a body that is a JSON object; newlines between tokens become spaces. Raises RecordError."""
    record = body.strip(_SPACE)
    try:
        event = _checked(record)
    except RecordError as error:
        raise error.at(0) from None
    return _joined(body, [record], [event], limits)


def _events(body: bytes, form: _Form) -> Sequence[Event] | None:
    """The body's events, None where the decoder or an extension attribute's rule refuses one."""
    try:
        return form.plain(body)
    except _UNREADABLE:
        pass
    try:
        events = form.any(body)
        return events if _extensions_are_sound(form.dicts(body)) else None
    except _UNREADABLE:
        return None


def _joined(body: bytes, records: list[bytes], events: Sequence[Event], limits: Limits) -> Split:
    # The decoder has shown that raw newlines stand between tokens only.
    if b"\n" in body or b"\r" in body:
        records = [record.translate(_FOLDED) for record in records]
    payload = b"\n".join([*records, b""])
    hashes = _hashes(payload, len(records), limits)
    if hashes is None:
        raise _too_large(records, limits) or _culprit(records)
    return _split(payload, events, hashes, limits)


def _hashes(payload: bytes, count: int, limits: Limits) -> bytes | None:
    """The leaf hashes; None unless there is one object a line and none is larger than a record may be."""
    return line_hashes(payload, count, ord("{"), ord("}"), limits.record_bytes)


def _split(payload: bytes, events: Sequence[Event], hashes: bytes, limits: Limits) -> Split:
    """What no decoder checks: UTF-8 in what it skips, barred characters, data given twice, how much it is."""
    ascii_only = payload.isascii()
    if not ascii_only:
        try:
            payload.decode()
        except UnicodeDecodeError:
            raise _culprit(payload.split(b"\n")[:-1]) from None
    keys = [f"{event.source}{_BETWEEN}{event.id}" for event in events]
    # The decoder takes no raw control character, so they can come only out of an escape, as DEL or beyond ASCII.
    if (not ascii_only or b"\\" in payload or b"\x7f" in payload) and not _attributes_are_sound(events, keys):
        raise _culprit(payload.split(b"\n")[:-1])
    if [1 for event in events if event.data_base64 is not None and event.data is not UNSET]:
        raise _culprit(payload.split(b"\n")[:-1])
    if len(events) > limits.batch_records:
        raise RecordError("too many records in one body", limit=limits.batch_records, value=f"{len(events)} records")
    if len(payload) > limits.batch_bytes:
        raise RecordError("too many bytes in one body", limit=limits.batch_bytes, value=f"{len(payload)} bytes")
    return Split(payload, keys, hashes)


def _attributes_are_sound(events: Sequence[Event], keys: list[str]) -> bool:
    # Types and the like are few; ids and sources are looked at as the text of all keys.
    few = {event.type for event in events} | {event.subject for event in events}
    few |= {event.datacontenttype for event in events} | {event.dataschema for event in events}
    joined = "".join(keys)
    return (
        joined.count(_BETWEEN) == len(keys)
        and _are_sound([joined.replace(_BETWEEN, "")])
        and _are_sound(value for value in few if value is not None)
    )


def _are_sound(strings: Iterable[str]) -> bool:
    joined = "".join(strings)
    if joined.isascii():
        return len(joined.encode().translate(None, _CONTROLS)) == len(joined)
    return joined.isprintable() or not _BARRED.search(joined)


def _extensions_are_sound(events: Sequence[Mapping[str, Raw]]) -> bool:
    """Whether names and values of extension attributes are what they may be. Raises _UNREADABLE."""
    names = set().union(*events) - _ATTRIBUTES
    if not all(map(_NAME.fullmatch, names)):
        return False
    raw = b",".join([value for event in events for name, value in event.items() if name in names])
    return _are_sound(value for value in _EXTENSIONS.decode(b"[" + raw + b"]") if isinstance(value, str))


def _too_large(records: list[bytes], limits: Limits) -> RecordError | None:
    for index, record in enumerate(records):
        if len(record) > limits.record_bytes:
            seen = f"{len(record)} bytes"
            return RecordError("is larger than a record may be", index=index, limit=limits.record_bytes, value=seen)
    return None


def _culprit(records: Iterable[bytes]) -> RecordError:
    """The error of the first record that is refused by itself."""
    for index, record in enumerate(records):
        try:
            _checked(record)
        except RecordError as error:
            return error.at(index)
    return RecordError("can't be told apart into records")


def _checked(record: bytes) -> Event:
    """The event of one record that keeps every rule but the sizes. Raises RecordError without an index."""
    try:
        record.decode()
        event = _OPEN.decode(record)
        extensions = {name: bytes(raw) for name, raw in _DICT.decode(record).items() if name not in _ATTRIBUTES}
    except _UNREADABLE as error:
        raise explain(error, record) from None
    if event.data_base64 is not None and event.data is not UNSET:
        raise RecordError("can't stand beside data", field="data_base64")
    for name in ("id", "source", "type", "subject", "datacontenttype", "dataschema"):
        value = getattr(event, name)
        if value is not None and not _are_sound([value]):
            raise RecordError("holds a control character or noncharacter", field=name, value=shown(value))
    for name, raw in extensions.items():
        if not _NAME.fullmatch(name):
            raise RecordError("an attribute's name is lower-case letters and digits", field=shown(name))
        try:
            sound = _extensions_are_sound([{name: Raw(raw)}])
        except _UNREADABLE:
            sound = False
        if not sound:
            raise RecordError("is no string, boolean or 32-bit integer", field=name, value=shown(raw))
    return event
