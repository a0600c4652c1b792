"""A sink's destination in memory: positions with compare-and-set, and all that lies beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from msgspec import structs

from meterfabric_protocol.delivery.stored import (
    UNNAMED,
    Equivocation,
    Held,
    LogUpdate,
    StoredBatch,
    StoredNotice,
)


class Down(Exception):
    """The destination is away, or the outcome of a commit is unknown."""


class Moved(Exception):
    """A log was not at the position the commit expected; nothing was written."""


@dataclass
class Rows:
    """What is stored. Values are never changed in place, so a shallow copy is a backup."""

    held: dict[str, Held] = field(default_factory=dict)
    batches: dict[str, tuple[StoredBatch, ...]] = field(default_factory=dict)
    notices: dict[str, tuple[StoredNotice, ...]] = field(default_factory=dict)
    equivocations: dict[str, tuple[Equivocation, ...]] = field(default_factory=dict)

    def copy(self) -> Rows:
        return Rows(dict(self.held), dict(self.batches), dict(self.notices), dict(self.equivocations))


class Destination:
    """One sink's store, shared by its workers."""

    def __init__(self, name: str, random: Random) -> None:
        self.name = name
        self.rows = Rows()
        self.down = False
        self.flaky = 0.0
        """How likely a commit ends in doubt: half of those are done."""
        self._random = random

    def positions(self, origins: Iterable[str]) -> dict[str, Held]:
        """The position of each log that is known."""
        self._up()
        return {origin: self.rows.held[origin] for origin in origins if origin in self.rows.held}

    def receipt(self, origin: str, size: int) -> StoredBatch | None:
        """The batch that ends at ``size``."""
        self._up()
        return next((b for b in self.rows.batches.get(origin, ()) if b.size == size), None)

    def notices(self, origin: str) -> list[StoredNotice]:
        """The notices of a log."""
        self._up()
        return list(self.rows.notices.get(origin, ()))

    def commit(self, updates: Sequence[LogUpdate]) -> None:
        """All updates, or where one position moved nothing."""
        self._up()
        doubt = self.flaky and self._random.random() < self.flaky
        if doubt and self._random.random() < 0.5:
            raise Down
        self.write(updates)
        if doubt:
            raise Down

    def write(self, updates: Sequence[LogUpdate]) -> None:
        """The same, whether it is up or not."""
        for update in updates:
            self.check(update)
        for update in updates:
            self._write(update)

    def check(self, update: LogUpdate) -> None:
        """The compare of compare-and-set."""
        held = self.rows.held.get(update.origin)
        size = held.size if held else 0
        if size != (update.expected_size or 0):
            raise Moved
        if held and held.final_size != UNNAMED and update.batches and update.batches[-1].size > held.final_size:
            raise Moved

    def _write(self, update: LogUpdate) -> None:
        rows, origin, held = self.rows, update.origin, update.held
        old = rows.held.get(origin)
        if old is not None:
            if old.head_size > held.head_size:
                held = structs.replace(held, head_size=old.head_size, head_note=old.head_note)
            if old.final_size != UNNAMED:
                held = structs.replace(
                    held, final_size=old.final_size, final_root=old.final_root, vouched_by=old.vouched_by
                )
            held = structs.replace(held, closed=old.closed or held.closed, again_to=max(old.again_to, held.again_to))
        rows.held[origin] = held
        if update.batches:
            rows.batches[origin] = (*rows.batches.get(origin, ()), *update.batches)
        if update.notices:
            rows.notices[origin] = (*rows.notices.get(origin, ()), *update.notices)
        if update.equivocation is not None:
            rows.equivocations[origin] = (*rows.equivocations.get(origin, ()), update.equivocation)

    def _up(self) -> None:
        if self.down:
            raise Down
