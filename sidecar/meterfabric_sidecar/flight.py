"""A batch between being sealed and being durable, and who waits for it."""

import asyncio
from dataclasses import dataclass

from .dedup import Admitted
from .gathering import Submission
from .ingest.intake import Conflict
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
    def waiting(self) -> list[Submission | Notices]:
        """All that wait for it, also those that clashed."""
        submissions = [*self.admitted.taken, *(s for s, _ in self.admitted.clashes)] if self.admitted else []
        return [*submissions, *([self.notices] if self.notices else [])]

    def answer(self) -> None:
        """It landed: tell all that wait for it."""
        if self.notices is not None and self.sealed is not None and not self.notices.answer.done():
            self.notices.answer.set_result(self.sealed.batch)
        if self.admitted is None:
            return
        for submission in self.admitted.taken:
            if not submission.answer.done():
                submission.answer.set_result(None)
        # Not before: what they clash with may have been in a batch that was still on its way.
        for submission, index in self.admitted.clashes:
            source, _, id_ = submission.split.keys[index].partition("\x1f")
            refuse(submission, Conflict(index, source, id_))


def refuse(waiting: Submission | Notices, why: Exception) -> None:
    """Nothing of it is kept, for this reason; whoever has gone isn't told."""
    if not waiting.answer.done():
        waiting.answer.set_exception(why)
