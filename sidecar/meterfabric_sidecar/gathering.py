"""Submissions that wait to be sealed together, and when that is."""

import asyncio
from collections import deque
from dataclasses import dataclass

from meterfabric_protocol.record import Split

from .settings import BatchPart


@dataclass(frozen=True)
class IntakeSettings(BatchPart):
    """When a batch closes, and how much may wait. Bytes are payload bytes."""

    waiting_bytes: int = 16 << 20
    """Records accepted and not yet durable; beyond it submissions are refused."""
    log_batches: int = 100_000
    """After so many batches a new log continues: of each, half a kilobyte or more stays for the log's life."""


@dataclass(slots=True)
class Submission:
    """Records that stand or fall together, and who waits for them."""

    split: Split
    answer: asyncio.Future[None]

    @property
    def count(self) -> int:
        """Records."""
        return len(self.split.keys)

    @property
    def bytes(self) -> int:
        """Bytes of payload."""
        return len(self.split.payload)


class Gathering:
    """The submissions that came since the last batch closed, in order."""

    def __init__(self, settings: IntakeSettings) -> None:
        self._settings = settings
        self._waiting: deque[Submission] = deque()
        self._records = 0
        self.bytes = 0
        self.company = 1
        """Submissions in the last batch: when as many are here again, nobody else is likely on the way."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, submission: Submission) -> None:
        """Take one more."""
        self._waiting.append(submission)
        self._records += submission.count
        self.bytes += submission.bytes

    @property
    def full(self) -> bool:
        """Whether a batch's limit is reached: no use waiting any longer."""
        return self._records >= self._settings.max_records or self.bytes >= self._settings.max_bytes

    @property
    def complete(self) -> bool:
        """Whether as many came as last time."""
        return len(self._waiting) >= self.company

    def take(self) -> list[Submission]:
        """The submissions of the next batch: at least one, then as many as the limits allow."""
        settings, waiting = self._settings, self._waiting
        records = size = 0
        taken: list[Submission] = []
        while waiting and (
            not taken
            or (records + waiting[0].count <= settings.max_records and size + waiting[0].bytes <= settings.max_bytes)
        ):
            following = waiting.popleft()
            records += following.count
            size += following.bytes
            taken.append(following)
        self._records -= records
        self.bytes -= size
        self.company = len(taken)
        return taken

    def clear(self) -> list[Submission]:
        """Let go of all."""
        left = list(self._waiting)
        self._waiting.clear()
        self._records = self.bytes = 0
        return left
