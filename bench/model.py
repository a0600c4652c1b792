"""How much it takes: relays, sink workers, database and disk for so many pods, computed from measured points.

Pure arithmetic over `Costs`. What it leaves out is in docs/capacity.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.points import Point
from meterfabric_protocol.delivery.settings import ProducerSettings
from meterfabric_protocol.fabric_spec import Relay, Resources
from meterfabric_protocol.notation import amount, thousandths
from meterfabric_relay.memory_limit import connections_in

SESSIONS = ProducerSettings.sessions
"""Relays that a sidecar is connected to."""
RELAYS_A_FABRIC = 100
"""`spec.relay.replicas` is at most this."""
WORKERS_A_SINK = 100
POSITIONS = 50_000
"""Logs whose positions a worker remembers (`worker._MOST_POSITIONS`)."""
PODS_A_CLUSTER = 150_000
"""What Kubernetes says it is built for ("Considerations for large clusters")."""
DISCOVERY = 5.0 * 1.25
"""Seconds within which every sidecar has looked for relays once (`discovery`)."""
BUSY = 0.8
"""Share of a limit that is planned with; the autoscaler's target."""
SIZE = 300.0
"""Bytes of a record in the measured points."""
LARGE = 1000
"""Records in their large batches."""
_DAY = 86_400.0


@dataclass(frozen=True)
class Costs:
    """Seconds of processor, bytes, and rates, each from a measured point."""

    relay_batch: float
    relay_byte: float
    relay_idle: float
    """Processor share of a session that is silent."""
    connection: float
    """Of the relay, to take a producer in: handshake and HELLO."""
    sink_batch: float
    sink_record: float
    sink_rate: float
    """Small batches a second that one worker with one PostgreSQL got done."""
    database_rate: float
    """Records a second that one PostgreSQL took from one worker, 1,000 a batch."""
    disk_batch: float
    disk_record: float
    wal_batch: float
    wal_record: float


NAMES = (
    "relay_batch_small",
    "relay_batch_large",
    "session_idle",
    "connecting_cpu",
    "sink_batch_cpu",
    "sink_small",
    "postgres_batch_disk",
    "postgres_batch_wal",
    "postgres_record_disk",
    "postgres_record_wal",
    "cpu_sink",
    "postgres_destination",
)
"""The points that the model is made of."""


def costs(points: Mapping[str, Point]) -> Costs:
    """The constants. Raises KeyError where a point of `NAMES` is missing."""

    def of(name: str) -> float:
        return points[name].value

    per_byte = (of("relay_batch_large") - of("relay_batch_small")) / ((LARGE - 1) * SIZE) * 1e-6
    record = of("cpu_sink") * 1e-6
    disk, wal = of("postgres_record_disk"), of("postgres_record_wal")
    return Costs(
        relay_batch=of("relay_batch_small") * 1e-6 - per_byte * SIZE,
        relay_byte=per_byte,
        relay_idle=of("session_idle") * 1e-6,
        connection=of("connecting_cpu") * 1e-3,
        sink_batch=of("sink_batch_cpu") * 1e-6 - record,
        sink_record=record,
        sink_rate=of("sink_small"),
        database_rate=of("postgres_destination"),
        disk_batch=of("postgres_batch_disk") - disk,
        disk_record=disk,
        wal_batch=of("postgres_batch_wal") - wal,
        wal_record=wal,
    )


@dataclass(frozen=True)
class Load:
    """What is asked: pods, records a second of each, bytes of a record, records that come in one message, and seconds
    that a batch stays open for more."""

    pods: int
    rate: float
    size: float = SIZE
    together: float = 1.0
    delay: float = 0.002

    @property
    def records(self) -> float:
        """A second, of all pods."""
        return self.pods * self.rate

    @property
    def batches(self) -> float:
        """A second, of all pods: a message opens a batch, and what comes while it is open comes along."""
        messages = self.rate / self.together
        return self.pods * messages / (1 + messages * self.delay)


@dataclass(frozen=True)
class RelayPod:
    """What one relay is given."""

    cores: float = thousandths(Resources().cpu) / 1000
    memory: int = amount(Resources().memory)
    records: int = amount(Relay().memory)
    connections: int = Relay().max_connections

    @property
    def fitting(self) -> int:
        """Connections that fit into its memory."""
        return connections_in(self.memory, self.records)

    @property
    def sessions(self) -> int:
        """That it lets in."""
        return min(self.connections, self.fitting)


@dataclass(frozen=True)
class Plan:
    """What it takes."""

    relays: int
    relays_because: str
    relay_cores: float
    """Of all relays together, busy."""
    sessions: float
    """Of each relay, producers'."""
    storm: float
    """Seconds until every producer has all its sessions again after a relay died and was replaced."""
    workers: int
    workers_because: str
    worker_cores: float
    databases: int
    rows: float
    """A second and database."""
    disk: float
    """Bytes a day, all databases."""
    wal: float
    """Bytes a second, all databases."""
    fabrics: int
    fabrics_because: str


def plan(load: Load, at: Costs, relay: RelayPod | None = None) -> Plan:
    """What this load takes, with one relay and one worker more than it must be where one may die."""
    relay = relay or RelayPod()
    work = load.batches * at.sink_batch + load.records * at.sink_record
    needs = {
        "processor": work / BUSY,
        "commits": load.batches / (at.sink_rate * BUSY),
        "positions": load.pods / POSITIONS,
        "one may die": 1.0,
    }
    workers_because = max(needs, key=lambda why: needs[why])
    workers = math.ceil(needs[workers_because]) + 1

    sessions = load.pods * SESSIONS
    busy = load.batches * at.relay_batch + load.records * load.size * at.relay_byte + sessions * at.relay_idle
    wants = {
        "processor": busy / (relay.cores * BUSY),
        "connections" if relay.fitting >= relay.connections else "memory": sessions / (relay.sessions * BUSY),
        "one may die": 1.0,
    }
    relays_because = max(wants, key=lambda why: wants[why])
    relays = math.ceil(wants[relays_because]) + 1
    each = sessions / relays
    # Those of a relay that died spread over all others; what replaces it has a name of its own, and its share comes.
    storm = max(DISCOVERY, each * at.connection / relay.cores)

    databases = max(1, math.ceil(load.records / (at.database_rate * BUSY)))
    splits = {
        "relays": relays / RELAYS_A_FABRIC,
        "workers": workers / WORKERS_A_SINK,
        "database": float(databases),
        "pods of a cluster": load.pods / PODS_A_CLUSTER,
    }
    fabrics_because = max(splits, key=lambda why: splits[why])
    fabrics = max(1, math.ceil(splits[fabrics_because]))
    stored = load.batches * at.disk_batch + load.records * at.disk_record * load.size / SIZE
    logged = load.batches * at.wal_batch + load.records * at.wal_record * load.size / SIZE
    return Plan(
        relays,
        relays_because,
        busy,
        each,
        storm,
        workers,
        workers_because,
        work,
        max(databases, fabrics),
        load.records / max(databases, fabrics),
        stored * _DAY,
        logged,
        fabrics,
        fabrics_because if fabrics > 1 else "",
    )


def breaks(rate: float, at: Costs, relay: RelayPod | None = None, size: float = SIZE) -> list[tuple[float, str, str]]:
    """(Pods, what is full then, what helps), the first first, for pods of that rate and everything at its default."""
    relay = relay or RelayPod()
    one = Load(1, rate, size)
    of_relay = one.batches * at.relay_batch + rate * size * at.relay_byte + SESSIONS * at.relay_idle
    of_worker = one.batches * at.sink_batch + rate * at.sink_record
    # Two relays: each has all pods' sessions.
    found = [
        (float(relay.fitting), "two relays' memory for sessions", "more relays, or `relay.resources.memory`"),
        (float(relay.connections), "two relays' `maxConnections`", "more relays"),
        (2 * relay.cores / of_relay, "two relays' processor", "more relays (autoscaling), or `relay.resources.cpu`"),
        (1 / of_worker, "one worker on a whole processor", "more workers (PostgreSQL)"),
        (at.sink_rate / one.batches, "one worker's commits", "more workers (PostgreSQL)"),
        (float(POSITIONS), "positions that one worker remembers", "more workers (PostgreSQL)"),
        (at.database_rate / rate, "one PostgreSQL's rows", "another fabric with a database of its own"),
        (
            RELAYS_A_FABRIC * relay.fitting / SESSIONS,
            f"{RELAYS_A_FABRIC} relays' memory for sessions",
            "`relay.resources.memory`, then another fabric",
        ),
        (float(PODS_A_CLUSTER), "a Kubernetes cluster", "another cluster with a fabric of its own"),
    ]
    return sorted(found)
