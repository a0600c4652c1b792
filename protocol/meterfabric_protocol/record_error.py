"""Why a record was refused, in the words its sender needs: which record, which field, which limit, which value."""

import re
from typing import Final

import msgspec

from .errors import ProtocolError

SHOWN_CHARACTERS: Final = 80
"""Of a refused value that much is shown."""

_PATH: Final = re.compile(r" - at `\$(?:\[\d+\])?(?:\.(\w+))?.*`$")
_MISSING: Final = re.compile(r"missing required field `(\w+)`")
_BYTE: Final = re.compile(r"\(byte (\d+)\)$")
_LENGTH: Final = re.compile(r"of length <= (\d+)")


class RecordError(ProtocolError):
    """A record, or a body of records, that is refused; nothing of it is kept.

    `detail` says what is wrong. `index` counts the body's records from 0 (blank lines don't count), None where the
    body as a whole is meant. `field` is the CloudEvents attribute, `limit` the number that was passed, `value` what was
    seen, shortened to 80 characters.
    """

    def __init__(
        self,
        detail: str,
        *,
        index: int | None = None,
        field: str | None = None,
        limit: int | None = None,
        value: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.index = index
        self.field = field
        self.limit = limit
        self.value = value

    @property
    def too_large(self) -> bool:
        """True where the record or the body is larger than is ever taken (HTTP 413), not merely wrong (400)."""
        return self.limit is not None and self.field is None

    def at(self, index: int) -> "RecordError":
        """The same error of the record at `index`."""
        return RecordError(self.detail, index=index, field=self.field, limit=self.limit, value=self.value)

    def __str__(self) -> str:
        parts = [] if self.index is None else [f"record {self.index}"]
        parts += [] if self.field is None else [self.field]
        seen = "" if self.value is None else f" (seen: {self.value})"
        return ": ".join([*parts, self.detail]) + seen


def shown(value: bytes | str) -> str:
    """`value` as a person may see it: one line, at most SHOWN_CHARACTERS."""
    text = value if isinstance(value, str) else value[: 4 * SHOWN_CHARACTERS].decode(errors="replace")
    line = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[: SHOWN_CHARACTERS + 1])
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"


def explain(error: Exception, record: bytes) -> RecordError:
    """What the decoder's `error` over `record` means to its sender."""
    if isinstance(error, RecursionError):
        return RecordError("is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        seen = bytes(error.object[error.start : error.end]).hex()
        return RecordError(f"is not UTF-8 at byte {error.start}", value=f"bytes {seen}")
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return _no_json(text, record)
    missing = _MISSING.search(text)
    if missing:
        return RecordError("is required", field=missing[1])
    path = _PATH.search(text)
    field = path[1] if path else None
    detail = text[: path.start()] if path else text
    length = _LENGTH.search(detail)
    return RecordError(detail, field=field, limit=int(length[1]) if length else None, value=_value(record, field))


def _no_json(text: str, record: bytes) -> RecordError:
    where = _BYTE.search(text)
    if where:
        start = max(0, int(where[1]) - SHOWN_CHARACTERS // 2)
        return RecordError(text, value=shown(record[start:]))
    # The decoder says no more where it ran out of bytes, be it for a surrogate's other half.
    return RecordError("JSON is malformed: ends too early, or a surrogate stands alone", value=shown(record))


def _value(record: bytes, field: str | None) -> str | None:
    if field is None:
        return shown(record)
    try:
        return shown(bytes(msgspec.json.decode(record, type=dict[str, msgspec.Raw])[field]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return None
