"""What was accepted and what was delivered over time, looked at from outside while everything goes wrong."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg

from meterfabric_sink.evidence import open_evidence
from tests.e2e import inside, victims
from tests.e2e.ground import Ground
from tests.e2e.producers import counted
from tests.kubernetes.installed import PASSWORD

EVERY = 3.0


@dataclass(frozen=True)
class Sample:
    """Counts of records, `at` seconds from the start; None where a sink couldn't be looked at."""

    at: float
    accepted: int
    billing: int | None
    archive: int | None

    @property
    def pending(self) -> int | None:
        """What the slower of the sinks lacks."""
        if self.billing is None or self.archive is None:
            return None
        return max(0, self.accepted - min(self.billing, self.archive))


class Sampler:
    """Looks for as long as a `with` lasts. A thread of its own asks PostgreSQL, in the cluster's network."""

    def __init__(self, ground: Ground) -> None:
        self.samples: list[Sample] = []
        self._ground = ground
        self._database = victims.database(ground).address
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")
        self._begun = time.monotonic()

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _run(self) -> None:
        control = self._ground.installed.kubernetes.plan.control
        with ThreadPoolExecutor(1, "asks", inside.enter_network, (control,)) as asks:
            while not self._enough.wait(EVERY):
                at = round(time.monotonic() - self._begun, 1)
                accepted = counted(self._ground)
                self.samples.append(Sample(at, accepted, self._billing(asks), self._archive()))

    def _billing(self, asks: ThreadPoolExecutor) -> int | None:
        try:
            return asks.submit(self._asked).result()
        except psycopg.Error:
            self._find_anew()
            return None

    def _asked(self) -> int:
        url = f"postgresql://usage:{PASSWORD}@{self._database}/postgres"
        # Nothing of a database that stops answering may hold the next look up for long.
        patience = {"connect_timeout": 2, "tcp_user_timeout": 2000, "keepalives_idle": 1, "keepalives_interval": 1}
        with psycopg.connect(url, autocommit=True, keepalives_count=2, **patience) as connection:
            row = connection.execute("SELECT coalesce(sum(records), 0) FROM meterfabric.logs").fetchone()
        return int(row[0]) if row else 0

    def _find_anew(self) -> None:
        """For the next look; it may be in another pod by now."""
        try:
            self._database = victims.database(self._ground).address
        except victims.Nobody:
            return

    def _archive(self) -> int:
        with open_evidence(f"file:{self._ground.archive}") as evidence:
            ((held,),) = evidence.query("SELECT coalesce(sum(records), 0) FROM logs")
        return int(held)
