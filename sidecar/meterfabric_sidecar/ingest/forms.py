"""In which form a request holds records: CloudEvents' HTTP content modes (HTTP protocol binding 1.0.2 section 3)."""

import re
from collections.abc import Mapping
from typing import Final

from meterfabric_protocol.limits import Limits
from meterfabric_protocol.record import RecordError, Split, from_binary, one, split_array, split_lines

from . import problem
from .problem import Problem

ONE: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
JSON: Final = "application/json"
LINES: Final = "application/x-ndjson"
TAKEN: Final = (ONE, BATCH, JSON, LINES)
BINARY: Final = ""
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_CHARSET: Final = re.compile(r';\s*charset\s*=\s*"?([^\s;"]+)', re.IGNORECASE)


def form(headers: Mapping[str, str]) -> str | Problem:
    """In which of TAKEN the records come, or BINARY, judged by the head alone."""
    given = headers.get("Content-Type", "")
    media = given.partition(";")[0].strip().lower()
    if not media.startswith("application/cloudevents") and "ce-specversion" in headers:
        return BINARY
    if media not in TAKEN:
        seen = f"Content-Type {given[:80]!r}" if given else "no Content-Type and no ce-specversion header"
        return problem.unsupported(seen, TAKEN)
    charset = _CHARSET.search(given)
    if charset is not None and charset[1].lower() not in _CHARSETS:
        return problem.unsupported(f"charset {charset[1][:40]!r}: JSON is taken in UTF-8", TAKEN)
    return media


def split(form: str, headers: Mapping[str, str], body: bytes, limits: Limits) -> Split:
    """The body's records as `form` said. Raises RecordError."""
    if form == BINARY:
        return one(from_binary(_single(headers), body), limits)
    if form == LINES:
        return split_lines(body, limits)
    if form == BATCH or (form == JSON and body.lstrip(b" \t\r\n")[:1] == b"["):
        return split_array(body, limits)
    return one(body, limits)


def _single(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, each once; an attribute that is sent twice has no one value."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower in found and lower.startswith("ce-"):
            raise RecordError("is sent twice", index=0, field=lower.removeprefix("ce-"))
        found[lower] = value
    return found
