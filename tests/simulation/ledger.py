"""What truly happened, known to the simulator alone: who submitted which record, and what became of the answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from meterfabric_protocol import checkpoint, cosignature
from meterfabric_protocol.delivery.answer import Answer
from meterfabric_protocol.identity import cosigner

from . import pki
from .destination import Destination
from .disk import Disk
from .kernel import Violation


@dataclass
class Record:
    """One record. ``places``: the (origin, index) leaves that hold it, the first where it was accepted."""

    pod: str
    answered: bool = False
    rolled_back: bool = False
    """The spool that held it was put back to an earlier state."""
    places: list[tuple[str, int]] = field(default_factory=list)


class Ledger:
    """All records and logs of a history."""

    def __init__(self) -> None:
        self.records: dict[bytes, Record] = {}
        self.logs: dict[str, str] = {}
        """Pod by origin, oldest first."""
        self.forgotten: set[str] = set()
        self.rotten: set[tuple[str, int]] = set()
        """Batches, by origin and first leaf, whose payload was damaged."""
        self.restored: dict[str, float] = {}
        """Sinks that were put back to an earlier state, and when last."""
        self.set_back: Counter[str] = Counter()
        """How often the disk of each pod was put back to an earlier state."""
        self.cloned: set[str] = set()
        """Pods of whose disk a copy signed something else."""
        self.passed: set[tuple[str, str, int]] = set()
        """(sink, origin, first leaf) of the stubs a sink held when a disk was put back that may have explained them."""
        self.joined: set[str] = set()
        """Sinks that joined a running fabric."""

    def submitted(self, pod: str, records: list[bytes]) -> None:
        """An application sent these."""
        for record in records:
            self.records[record] = Record(pod)

    def answered(self, pod: str, records: list[bytes]) -> None:
        """The application was told that these are accepted."""
        for record in records:
            self.records[record].answered = True

    def opened(self, pod: str, origin: str) -> None:
        """A log begins."""
        self.logs[origin] = pod

    def sealed(self, origin: str, first: int, leaves: list[bytes]) -> None:
        """These records are leaves from ``first`` on."""
        for index, leaf in enumerate(leaves, first):
            self.records[leaf].places.append((origin, index))

    def answer(self, destination: Destination, answer: Answer) -> None:
        """A sink's answer leaves: a receipt is true at this moment, or nobody may ever see it."""
        if not answer.cosignature:
            if answer.kind == "receipt":
                raise Violation("receipt-without-signature", f"{destination.name}, {answer.origin} at {answer.about}")
            return
        batches = destination.rows.batches.get(answer.origin, ())
        stored = next((batch for batch in batches if batch.size == answer.about), None)
        if stored is None or stored.kind == "stub":
            what = "nothing" if stored is None else "a stub"
            raise Violation(
                "false-receipt", f"{destination.name} cosigns {answer.origin} at {answer.about}, has {what}"
            )
        text = checkpoint.parse(stored.note).text
        name = cosigner(pki.FABRIC, destination.name)
        try:
            cosignature.verify(text, answer.cosignature.encode(), name, pki.public(f"sink {destination.name}"))
        except Exception as error:
            raise Violation(
                "false-receipt", f"{destination.name}, {answer.origin} at {answer.about}: {error}"
            ) from error

    def rolled_back(self, pod: str, before: Disk, after: Disk) -> None:
        """A pod's disk is put back: note the records that it holds no more."""
        self.set_back[pod] += 1
        kept = {
            (log.origin, index) for log in after.logs.values() for b in log.batches for index in range(b.first, b.size)
        }
        roots = {(log.origin, b.size): b.root for log in after.logs.values() for b in log.batches}
        for log in before.logs.values():
            for batch in log.batches:
                if roots.get((log.origin, batch.size)) != batch.root:
                    kept -= {(log.origin, index) for index in range(batch.first, batch.size)}
        for record in self.records.values():
            if record.pod == pod and record.places and not kept.intersection(record.places):
                record.rolled_back = True
