"""A notice: what a sidecar states about its logs, as a leaf of the log itself, so that it is signed and ordered.

A notice's leaf is `!` and compact JSON. No JSON object begins with `!`, so no application can forge one, and leaves
of the two kinds are told apart by their first byte. The JSON has one spelling only (the one `encode` writes): a leaf
says one thing in every reader. `log` is the origin that the notice is about: a notice about an older log of the same
pod is a leaf of the newer one.
"""

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .errors import Malformed
from .limits import DEFAULT, NOTICE_AGAIN, NOTICE_RANGES, ORIGIN_BYTES, Limits
from .merkle import HASH_BYTES, MAX_SIZE

MARK: Final = b"!"
"""The first byte of every notice's leaf."""
VERSION: Final = 1

Origin: TypeAlias = Annotated[str, Meta(min_length=1, max_length=ORIGIN_BYTES, pattern=r"^[!-*,-~]+\Z")]
Size: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_SIZE)]
Root: TypeAlias = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
Word: TypeAlias = Annotated[str, Meta(max_length=64, pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*\Z")]
"""A stable word that programs compare: a reason, a cause."""
SinkName: TypeAlias = Annotated[str, Meta(max_length=63, pattern=r"^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?\Z")]
Ranges: TypeAlias = Annotated[tuple[tuple[Size, Size], ...], Meta(min_length=1, max_length=NOTICE_RANGES)]
"""Leaves [first, size) each, none empty, ascending, no two touching (touching ones are one range)."""


class _Notice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="notice"):
    v: Literal[1] = 1
    log: Origin


class _Ranged(_Notice, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="notice"):
    ranges: Ranges

    def __post_init__(self) -> None:
        end = -1
        for first, size in self.ranges:
            if not end < first < size:
                raise ValueError(f"ranges are [first, size), ascending and apart, not [{first}, {size}) after {end}")
            end = size


class Opened(_Notice, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="opened"):
    """A log begins that goes on no other. Always leaf 0."""


class Again(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The batch [first, size) of the log before, with this root at `size`, stands again at leaf `at` of this log."""

    first: Size
    size: Size
    at: Size
    root: Root

    def __post_init__(self) -> None:
        if self.first >= self.size:
            raise ValueError(f"no range of leaves: [{self.first}, {self.size})")


class Continues(_Notice, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="continues"):
    """A log begins where the log `previous` of the same pod ended, with its final size and root. Always leaf 0 (and the
    leaves after it, as many as it takes to name what stands again).

    `heard` is the highest size of `previous` that a peer may have heard, where it is beyond `size`: the leaves
    [size, heard) were lost with the disk. `reason` is a word such as "restart", "key-lost", "rollback", "equivocation".
    `again` names the batches of `previous` beyond `size` that this log repeats, in order and apart, so that a sink
    which holds them doesn't take their records twice.
    """

    previous: Origin
    size: Size
    root: Root
    heard: Size | UnsetType = UNSET
    reason: Word
    again: Annotated[tuple[Again, ...], Meta(max_length=NOTICE_AGAIN)] = ()

    def __post_init__(self) -> None:
        if self.heard is not UNSET and self.heard <= self.size:
            raise ValueError(f"heard {self.heard} is not beyond size {self.size}")
        end = 1
        for again in self.again:
            if again.at < end:
                raise ValueError(f"[{again.first}, {again.size}) can't stand again at {again.at}, before {end}")
            end = again.at + again.size - again.first


class Expired(_Ranged, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="expired"):
    """The payload of these leaves is given up for this sink: too old, or no room left."""

    sink: SinkName
    reason: Literal["age", "quota"]


class Damaged(_Ranged, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="damaged"):
    """The payload of these leaves was found damaged on the sidecar's disk; `cause` is a word such as "hash"."""

    cause: Word


class LostBySink(_Ranged, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="lost-by-sink"):
    """The sink gave receipts for these leaves, holds an earlier position now, and the payload is gone here."""

    sink: SinkName


class SinkJoined(_Notice, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sink-joined"):
    """From leaf `size` on the log is delivered to this sink as well."""

    sink: SinkName
    size: Size


class SinkLeft(_Notice, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sink-left"):
    """From leaf `size` on the log is no longer delivered to this sink."""

    sink: SinkName
    size: Size


class Closed(_Notice, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="closed"):
    """The log's last leaf. `records` counts the log's records, notices not among them."""

    records: Size


Notice: TypeAlias = Opened | Continues | Expired | Damaged | LostBySink | SinkJoined | SinkLeft | Closed


class _Version(msgspec.Struct):
    v: int


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final[msgspec.json.Decoder[Notice]] = msgspec.json.Decoder(Notice)
_VERSION: Final = msgspec.json.Decoder(_Version)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def is_notice(leaf: bytes) -> bool:
    """Whether a leaf is a notice, well-formed or not; the others are records."""
    return leaf[:1] == MARK


def encode(notice: Notice) -> bytes:
    """The notice's leaf. Raises Malformed where a value isn't what a reader would take."""
    leaf = MARK + _ENCODER.encode(notice)
    decode(leaf)
    return leaf


def decode(leaf: bytes, limits: Limits = DEFAULT) -> Notice:
    """The notice of a leaf. Raises Malformed, also where the same could be said by other bytes."""
    if not is_notice(leaf):
        raise Malformed("notice", f"begins with {leaf[:1]!r}, not {MARK!r}")
    if len(leaf) > limits.record_bytes:
        raise Malformed("notice", f"{len(leaf)} bytes, at most {limits.record_bytes}")
    text = leaf[1:]
    try:
        notice = _DECODER.decode(text)
    except _UNREADABLE as error:
        raise Malformed("notice", _why(text, error)) from None
    if _ENCODER.encode(notice) != text:
        raise Malformed("notice", "not spelled as a notice is: compact, in order, nothing twice")
    return notice


def _why(text: bytes, error: Exception) -> str:
    try:
        version = _VERSION.decode(text).v
    except _UNREADABLE:
        return str(error)
    return str(error) if version == VERSION else f"version {version}, this reader reads version {VERSION}"
