"""The records that are measured: CloudEvents of an exact size with unique ids, made for less than they cost to send."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping

VARIANTS = 16
_ID_MARK = b"@" * 12


class Events:
    """Messages of `per_message` events, each exactly `size` bytes as JSON, one a line.

    Ids are unique over `stream` and the message's number. Subjects and values differ within a message and from one
    message to the next; after `VARIANTS` messages they come again under new ids, which makes a message one call of
    bytes.join. No batch holds so many messages, so compressing gains nothing from it.
    """

    def __init__(self, per_message: int, size: int, stream: int) -> None:
        draw = random.Random(stream)
        self.per_message = per_message
        self.size = size
        self._variants = [
            b"".join(_event(draw, number, size, stream) + b"\n" for number in range(per_message)).split(_ID_MARK)
            for _ in range(VARIANTS)
        ]

    def message(self, number: int) -> bytes:
        """The NDJSON body of message `number`."""
        return (b"%012x" % number).join(self._variants[number % VARIANTS])

    def messages(self, count: int) -> Iterator[bytes]:
        """The bodies of the first `count` messages."""
        return (self.message(number) for number in range(count))


def _event(draw: random.Random, number: int, size: int, stream: int) -> bytes:
    data = {"input_tokens": draw.randrange(10_000), "output_tokens": draw.randrange(1000), "note": ""}
    event = {
        "specversion": "1.0",
        "id": f"{stream:08x}-{_ID_MARK.decode()}-{number:06d}",
        "source": "//bench/tokens",
        "type": "io.meterfabric.bench.request",
        "subject": f"customer-{draw.randrange(10_000):04d}",
        "time": "2026-01-01T00:00:00Z",
        "data": data,
    }
    missing = size - len(_encode(event))
    if missing < 0:
        raise ValueError(f"an event of this shape has {size - missing} bytes, more than {size}")
    data["note"] = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz ", k=missing))
    return _encode(event)


def _encode(event: Mapping[str, object]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
