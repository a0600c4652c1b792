"""A copy of a pod's spool and key that lives on elsewhere, and what a sink takes of it.

It has no process of its own: all that matters of one is what it signs, so its batches are put straight before the
sink's own judge, and nobody hears the answers.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from meterfabric_protocol import batch as batches
from meterfabric_protocol.delivery.verdict import Incoming
from meterfabric_protocol.merkle import leaf_hashes

from . import pki
from .disk import Disk, SpoolLog

if TYPE_CHECKING:
    from .world import World


class Clone:
    """The copy, as it was when it was made."""

    def __init__(self, world: World, pod: str) -> None:
        self._world = world
        self._pod = pod
        self._disk: Disk = world.sidecars[pod].disk.copy()

    def feed(self, sink: str, random: Random) -> None:
        """Have the sink take what the copy holds of the log that grew then, and some records that only the copy has."""
        log = next((log for log in self._disk.logs.values() if log.state == "active" and log.chain), None)
        if log is None:
            return
        for batch in log.batches:
            if batch.size > self._position(sink, log) and batch.payload is not None and not batch.rotten:
                self._give(sink, log, batch.header, batch.payload)
        if self._position(sink, log) == log.size:
            self._branch(sink, log, random)

    def _branch(self, sink: str, log: SpoolLog, random: Random) -> None:
        """What the copy sealed, of which the pod knows nothing."""
        frontier, ledger = log.frontier, self._world.ledger
        ledger.cloned.add(self._pod)
        for _ in range(random.randint(1, 4)):
            number, count = random.randint(1, 1_000_000_000), random.randint(1, 4)
            leaves = [b'{"id":"%s-clone-%d-%d"}' % (self._pod.encode(), number, index) for index in range(count)]
            payload = batches.join(leaves)
            header, after = batches.seal(
                log.origin, pki.key(log.key), frontier, leaf_hashes(leaves), "records", payload
            )
            ledger.submitted(f"a clone of {self._pod}", leaves)
            ledger.sealed(log.origin, frontier.size, leaves)
            self._give(sink, log, header, payload)
            frontier = after

    def _position(self, sink: str, log: SpoolLog) -> int:
        held = self._world.destinations[sink].rows.held.get(log.origin)
        return 0 if held is None else held.size

    def _give(self, sink: str, log: SpoolLog, header: batches.BatchHeader, payload: bytes) -> None:
        world = self._world
        item = Incoming(None, log.origin, b"", 0, log.chain or b"", batches.encode_header(header), payload)
        core, destination = world.workers[sink][0].core, world.destinations[sink]
        verdict = core.judge([item], destination.rows.held, frozenset({log.origin}), int(world.wall(sink)))
        destination.write(list(verdict.updates.values()))
        for update in verdict.updates.values():
            for batch in update.batches:
                world.kernel.trace(sink, f"takes of a clone {update.origin[-6:]} [{batch.first}, {batch.size})")
