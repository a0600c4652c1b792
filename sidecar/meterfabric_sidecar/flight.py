"""A batch between being sealed and being durable."""

import asyncio
from dataclasses import dataclass

from .dedup import Admitted
from .gathering import Submission
from .sealer import Sealed
from .spool import StoredBatch


@dataclass(slots=True)
class Notices:
    """Leaves that make a batch of their own; the damage they tell of, and whether they end the log."""

    leaves: list[bytes]
    damage: list[tuple[str, int, int]]
    last: bool
    answer: asyncio.Future[StoredBatch]


@dataclass(slots=True)
class Flight:
    """A batch on its way, and who waits for it. `sealed` is None where all records were repeats."""

    sealed: Sealed | None
    admitted: Admitted[Submission] | None = None
    notices: Notices | None = None
    bytes: int = 0
    packing: asyncio.Future[Sealed] | None = None
    """The same batch compressed, once that is done."""

    @property
    def submissions(self) -> list[Submission]:
        """All that came with it, also those that clashed."""
        return [*self.admitted.taken, *(s for s, _ in self.admitted.clashes)] if self.admitted else []
