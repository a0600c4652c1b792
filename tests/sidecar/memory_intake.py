"""An intake without a disk, for the tests of what stands in front of it."""

import asyncio
import json

from meterfabric_protocol.record import Split
from meterfabric_sidecar.ingest.intake import Refused


class MemoryIntake:
    """Keeps what it is given, in order; refuses with `refusal` while that is set; waits while `gate` is closed."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.calls = 0
        self.refusal: Refused | Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def accept(self, split: Split) -> None:
        self.calls += 1
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        self.records += split.records


def event(number: int = 0, **extra: object) -> bytes:
    """One CloudEvent as a compact line."""
    fields = {"specversion": "1.0", "id": f"id-{number}", "source": "/test", "type": "cpu"} | extra
    return json.dumps(fields, separators=(",", ":")).encode()
