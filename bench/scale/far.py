"""The far side where batches are small and logs many: a worker with a real PostgreSQL, and the disk that it takes.

`bench.postgres` measures one log's large batches, where the rows are all that counts. Pods that meter now and then send
batches of one record, each with its own signatures, position, and rows of evidence.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.events import Events
from bench.report import say
from meterfabric_protocol import batch
from meterfabric_protocol.delivery.verdict import Incoming
from meterfabric_protocol.merkle import leaf_hashes
from meterfabric_sink.destination.postgres import PostgresDestination
from meterfabric_sink.settings import Settings
from tests.sink.postgres_server import PostgresServer
from tests.sink.worker_bench import Log, running

LOGS = 256
SIZE = 300
SMALL = 16
"""Batches of one record, of each log."""
LARGE = 100
"""Batches of a thousand records, of one log."""
_SIZES = "SELECT pg_database_size(current_database()), pg_current_wal_insert_lsn() - '0/0'::pg_lsn"


@dataclass(frozen=True)
class Found:
    """Of some batches: how many, seconds, seconds of the worker's processor, bytes of the database and of its WAL."""

    batches: int
    seconds: float
    cpu: float
    disk: float
    wal: float


def measure() -> None:
    """Print what a small batch and a record take of the worker, of PostgreSQL, and of the disk."""
    with PostgresServer.temporary() as server, tempfile.TemporaryDirectory(prefix="bench-far-") as folder:
        small, large = asyncio.run(_both(Path(folder), server.new_database()))
    each = f"1 x {SIZE} B a batch, {LOGS} logs, one worker"
    say("sink_small", small.batches / small.seconds, "batches/s", each)
    say("sink_batch_cpu", small.cpu / small.batches * 1e6, "us", "of the worker's processor, " + each)
    say("postgres_batch_disk", small.disk / small.batches, "B", "of the database a batch, its one record included")
    say("postgres_batch_wal", small.wal / small.batches, "B", "of the write-ahead log, likewise")
    records = large.batches * 1000
    say("postgres_record_disk", large.disk / records, "B", f"of the database a record of {SIZE} B, 1,000 a batch")
    say("postgres_record_wal", large.wal / records, "B", "of the write-ahead log, likewise")


async def _both(folder: Path, url: str) -> tuple[Found, Found]:
    bounds = Settings.group_bytes, Settings.group_batches
    async with running(folder, PostgresDestination(url), *bounds, verify=False) as bench:
        logs = [Log(bench.authority, f"pod-{number}") for number in range(LOGS)]
        small, large = Events(1, SIZE, stream=8), Events(1000, SIZE, stream=9)
        first = [_seal(each, small.message(number)) for number, each in enumerate(logs)]
        rounds = range(LOGS, LOGS * (SMALL + 1))
        many = [_seal(logs[number % LOGS], small.message(number)) for number in rounds]
        few = [_seal(logs[0], large.message(number)) for number in range(LARGE)]
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:

            async def deliver(items: list[Incoming]) -> Found:
                before = await _sizes(connection)
                begun, cpu, answered = time.perf_counter(), time.process_time(), len(bench.answers)
                for item in items:
                    bench.worker.take(item)
                await bench.until(lambda: len(bench.answers) == answered + len(items))
                seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
                disk, wal = (now - then for now, then in zip(await _sizes(connection), before, strict=True))
                return Found(len(items), seconds, cpu, disk, wal)

            await deliver(first)  # logs begin, their chains are judged
            return await deliver(many), await deliver(few)


async def _sizes(connection: psycopg.AsyncConnection[tuple[int, int]]) -> tuple[int, int]:
    cursor = await connection.execute(_SIZES)
    row = await cursor.fetchone()
    if row is None:
        raise RuntimeError("PostgreSQL told no sizes")
    return int(row[0]), int(row[1])


def _seal(log: Log, payload: bytes) -> Incoming:
    hashes = leaf_hashes(payload.splitlines())
    header, log.frontier = batch.seal(log.origin, log.key, log.frontier, hashes, "records", payload)
    return Incoming(None, log.origin, bytes(16), 0, log.chain, batch.encode_header(header), payload)
