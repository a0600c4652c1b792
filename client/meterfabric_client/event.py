"""A usage record as the one line of JSON that is sent: CloudEvents 1.0 with what the caller left out filled in."""

import os
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

_encode: Final = msgspec.json.Encoder().encode
_FOLDED: Final = bytes.maketrans(b"\r\n", b"  ")


def default_source() -> str:
    """This host's name as a URI reference; in a pod that is the pod's name."""
    return f"//{socket.gethostname()}"


def new_id() -> str:
    """A UUID of version 7 in 32 hexadecimal digits (RFC 9562 section 5.7): unique, and sorts by time."""
    random = int.from_bytes(os.urandom(10), "big")
    milliseconds = time.time_ns() // 1_000_000
    low = (0b10 << 62) | (random & ((1 << 62) - 1))
    return f"{milliseconds & (1 << 48) - 1:012x}{0x7000 | random >> 68:04x}{low:016x}"


def compose(
    source: str,
    type: str,
    subject: str | None,
    data: Any,
    id: str | None,
    when: datetime | None,
    extensions: Mapping[str, str | int | bool],
) -> bytes:
    """The line for one usage record. Raises ValueError or TypeError for what can't be one."""
    if not type:
        raise ValueError("type must not be empty")
    if when is not None and when.tzinfo is None:
        raise ValueError("time needs an offset: datetime.now(UTC), not datetime.now()")
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": new_id() if id is None else id,
        "source": source,
        "type": type,
        "time": datetime.now(UTC) if when is None else when,
    }
    if subject is not None:
        event["subject"] = subject
    for name, value in extensions.items():
        if not (name.isascii() and name.isalnum() and name.islower()) or name in event or name == "data":
            raise ValueError(f"{name!r} can't be an extension attribute (lower-case letters and digits)")
        event[name] = value
    if data is not None:
        event["data"] = data
    return _encode(event)


def line(event: Mapping[str, Any] | bytes | str, source: str) -> bytes:
    """A ready CloudEvent as a line. Of a mapping, specversion, id, source and time are filled in where absent.

    Text and bytes go as they are, but for raw newlines, which become spaces; the sidecar judges them.
    """
    if isinstance(event, Mapping):
        filled = {"specversion": "1.0", "id": None, "source": source, "time": None, **event}
        if filled["id"] is None:
            filled["id"] = new_id()
        if filled["time"] is None:
            filled["time"] = datetime.now(UTC)
        return _encode(filled)
    text = (event.encode() if isinstance(event, str) else bytes(event)).strip()
    if not text:
        raise ValueError("an empty event")
    return text.translate(_FOLDED) if b"\n" in text or b"\r" in text else text
