"""Refusals in RFC 9457's words: the same JSON as an HTTP body and as the last frame of a ZeroMQ `NO`."""

import math
from typing import Final

import msgspec

from meterfabric_protocol.record import RecordError

from .intake import Conflict, Full, Refused, TooLarge, Unavailable

MEDIA_TYPE: Final = "application/problem+json"
_TYPES: Final = "https://meterfabric.io/problems/"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Problem details (RFC 9457 section 3.1), and members of our own (section 3.2) after `detail`.

    `index` counts the message's records from 0; `retry_after` is in whole seconds and is also the HTTP header.
    """

    type: str
    title: str
    status: int
    detail: str = ""
    index: int | None = None
    field: str | None = None
    limit: int | None = None
    value: str | int | None = None
    accepted: tuple[str, ...] = ()
    retry_after: int | None = None

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def problem(name: str, title: str, status: int, detail: str = "", retry_after: float | None = None) -> Problem:
    """A problem of the type `name`; a wait is rounded up to at least one second (RFC 9110 section 10.2.3)."""
    wait = None if retry_after is None else max(1, math.ceil(retry_after))
    return Problem(type=_TYPES + name, title=title, status=status, detail=detail, retry_after=wait)


def of_record(error: RecordError) -> Problem:
    """A record that breaks a rule: 413 where it or its body is larger than is ever taken, else 400."""
    if error.too_large:
        kind, title, status = "too-large", "More than is taken at once", 413
    else:
        kind, title, status = "invalid-record", "A record is not a CloudEvent that is taken", 400
    return Problem(
        type=_TYPES + kind,
        title=title,
        status=status,
        detail=error.detail,
        index=error.index,
        field=error.field,
        limit=error.limit,
        value=error.value,
    )


def too_large(detail: str, limit: int, value: int) -> Problem:
    return Problem(
        type=_TYPES + "too-large",
        title="More than is taken at once",
        status=413,
        detail=detail,
        limit=limit,
        value=value,
    )


def unsupported(detail: str, accepted: tuple[str, ...]) -> Problem:
    return Problem(
        type=_TYPES + "unsupported-media-type",
        title="Not a form in which records are taken",
        status=415,
        detail=detail,
        accepted=accepted,
    )


def of_refusal(refusal: Refused) -> Problem:
    """What the intake said: 429 full, 503 unavailable, 409 conflict, 413 too large."""
    match refusal:
        case Full():
            return problem("full", "No room for more records", 429, refusal.detail, refusal.retry_after)
        case Unavailable():
            return problem("unavailable", "Records are not taken just now", 503, refusal.detail, refusal.retry_after)
        case Conflict():
            return Problem(
                type=_TYPES + "conflict",
                title="The id is taken by another record",
                status=409,
                detail=refusal.detail,
                index=refusal.index,
                field="id",
                value=f"{refusal.source} {refusal.id}",
            )
        case TooLarge():
            return too_large(refusal.detail, refusal.limit, refusal.value)
        case _:
            return problem("refused", "Records were not taken", 400, refusal.detail)


def internal() -> Problem:
    """Something of ours broke; its details are in the log, not here."""
    return problem("internal", "The sidecar failed", 500, "see the sidecar's log; the records were not accepted")
