"""The `postgres` destination against a bare COPY of the very same rows into the very same table.

The bare COPY is handed rows that are ready for the wire and writes no evidence, no position and no receipt: what the
destination adds to it is its cost. Both commit as many rows at a time, round by round in turn.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.events import Events
from bench.report import progress, say, spread
from meterfabric_protocol import batch
from meterfabric_protocol.delivery.stored import Held, LogUpdate, StoredBatch
from meterfabric_protocol.merkle import CompactRange, leaf_hashes
from meterfabric_sink.destination import postgres_rows
from meterfabric_sink.destination.postgres import PostgresDestination
from tests.sink.postgres_server import PostgresServer

ROUNDS = 7
COMMITS = 10
BATCHES = 10
PER_BATCH = 1000
SIZE = 300
_BARE = f"COPY bare({postgres_rows.COLUMNS}) FROM STDIN (FORMAT binary)".encode()


def measure() -> None:
    """Print both rates and their ratio."""
    with PostgresServer.temporary() as server:
        ours, bare = asyncio.run(_rounds(server.new_database()))
    rows = f"{BATCHES} batches of {PER_BATCH} a transaction, {SIZE} B"
    say("postgres_destination", statistics.median(ours), "records/s", f"{spread(ours)}; {rows}")
    say("postgres_bare_copy", statistics.median(bare), "records/s", spread(bare))
    ratios = [our / their for our, their in zip(ours, bare, strict=True)]
    say("postgres_vs_bare_copy", statistics.median(ratios), "", spread(ratios))


async def _rounds(url: str) -> tuple[list[float], list[float]]:
    destination = PostgresDestination(url)
    await destination.open()
    rates: tuple[list[float], list[float]] = [], []
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE bare(LIKE meterfabric.records INCLUDING ALL)")
        for turn in range(ROUNDS + 1):
            updates = _log(turn)
            rows = [_rows(update.batches) for update in updates]
            # Checkpoints come when they come, and would hit one or the other: have each begin after one.
            await connection.execute("CHECKPOINT")
            ours = await _ours(destination, updates)
            await connection.execute("CHECKPOINT")
            theirs = await _bare(connection, rows)
            if turn:  # the first is the warm-up
                for seconds, found in zip((ours, theirs), rates, strict=True):
                    found.append(COMMITS * BATCHES * PER_BATCH / seconds)
                progress(f"round {turn} of {ROUNDS}")
    await destination.close()
    return rates


async def _ours(destination: PostgresDestination, updates: Sequence[LogUpdate]) -> float:
    begun = time.perf_counter()
    for update in updates:
        await destination.commit([update])
    return time.perf_counter() - begun


async def _bare(connection: psycopg.AsyncConnection[tuple[object, ...]], transactions: Sequence[list[bytes]]) -> float:
    begun = time.perf_counter()
    for chunks in transactions:
        async with connection.cursor() as cursor, cursor.copy(_BARE) as copy:
            for chunk in chunks:
                await copy.write(chunk)
    return time.perf_counter() - begun


def _rows(batches: Sequence[StoredBatch]) -> list[bytes]:
    chunks = [
        chunk
        for stored in batches
        for chunk in postgres_rows.chunks(stored.origin, stored.first, stored.payload, postgres_rows.Caution.NONE)
    ]
    return [postgres_rows.HEADER, *chunks, postgres_rows.TRAILER]


def _log(turn: int) -> list[LogUpdate]:
    """A log of its own for each round, as the commits that a worker makes of it."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    origin, frontier = f"bench.bench/bench/pod-{turn}/key", CompactRange.empty()
    events = Events(PER_BATCH, SIZE, stream=100 + turn)
    updates = []
    for commit in range(COMMITS):
        expected, stored = frontier.size, []
        for number in range(BATCHES):
            payload = events.message(commit * BATCHES + number)
            header, frontier = batch.seal(origin, key, frontier, leaf_hashes(payload.splitlines()), "records", payload)
            stored.append(
                StoredBatch(
                    origin=origin,
                    first=header.first,
                    size=header.size,
                    kind="records",
                    of="records",
                    note=header.note,
                    roots=header.roots,
                    cosignature="— bench\n",
                    time=0,
                    payload=payload,
                )
            )
        held = Held(
            origin=origin,
            size=frontier.size,
            root=frontier.root(),
            frontier=frontier.encode(),
            records=frontier.size,
            notices=0,
            stubbed=0,
            head_size=frontier.size,
            head_note=stored[-1].note,
            closed=False,
            public_key=public,
            chain=b"",
        )
        updates.append(LogUpdate(origin, expected, held, tuple(stored)))
    return updates
