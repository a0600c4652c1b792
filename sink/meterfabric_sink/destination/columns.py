"""The queryable columns of a record. They are a convenience beside the exact bytes, so nothing here ever refuses:
what isn't a CloudEvent, or what a column can't hold, becomes NULL.
"""

from collections.abc import Sequence

import msgspec


class Columns(msgspec.Struct, frozen=True, gc=False):
    """The attributes of CloudEvents 1.0 (section 3.1, 3.2) that get a column; `data` is its JSON as it stands."""

    id: str | None = None
    source: str | None = None
    type: str | None = None
    subject: str | None = None
    time: str | None = None
    data: msgspec.Raw | None = None


NOTHING = Columns()
_decode = msgspec.json.Decoder(Columns).decode


def columns(records: Sequence[bytes]) -> list[Columns]:
    """The columns of each record, in order; one C call a record as long as all of them are as they should be."""
    try:
        return list(map(_decode, records))
    except (ValueError, RecursionError):  # msgspec's and Unicode's errors are ValueErrors
        return [_careful(record) for record in records]


def _careful(record: bytes) -> Columns:
    try:
        return _decode(record)
    except (ValueError, RecursionError):
        return NOTHING
