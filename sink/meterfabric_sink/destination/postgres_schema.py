"""The tables in PostgreSQL, in schema `meterfabric`, and how they came to be: one migration a version, in order.

The worker creates and migrates them itself, under an advisory lock so that many may start at once.
"""

from typing import Any

from psycopg import AsyncConnection

from .base import DestinationRefused

ADVISORY_LOCK = 0x4D465344  # "MFSD"

# Leaf numbers and Unix seconds as in the SQLite tables. In `records` everything but origin and idx is NULL in a row
# that was erased; id to data are also NULL where a record has no such attribute or holds what the column can't.
MIGRATIONS: tuple[tuple[bytes, ...], ...] = (
    (
        b"""CREATE TABLE meterfabric.logs(
          origin text COLLATE "C" PRIMARY KEY, size bigint NOT NULL, root bytea NOT NULL, frontier bytea NOT NULL,
          records bigint NOT NULL, notices bigint NOT NULL, stubbed bigint NOT NULL,
          head_size bigint NOT NULL, head_note bytea NOT NULL, closed boolean NOT NULL,
          public_key bytea NOT NULL, chain bytea NOT NULL,
          final_size bigint NOT NULL, final_root bytea NOT NULL, vouched_by text NOT NULL, again_to bigint NOT NULL,
          first_seen bigint NOT NULL, updated bigint NOT NULL)""",
        b"""CREATE TABLE meterfabric.batches(
          origin text COLLATE "C" NOT NULL, first bigint NOT NULL, size bigint NOT NULL, kind text NOT NULL,
          "of" text NOT NULL, note bytea NOT NULL, roots bytea NOT NULL, cosignature text, time bigint NOT NULL,
          PRIMARY KEY(origin, first))""",
        b"""CREATE TABLE meterfabric.notices(
          origin text COLLATE "C" NOT NULL, idx bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY(origin, idx))""",
        b"""CREATE TABLE meterfabric.certificates(
          origin text COLLATE "C" NOT NULL, fingerprint bytea NOT NULL, chain bytea NOT NULL,
          not_before bigint NOT NULL, not_after bigint NOT NULL, first_seen bigint NOT NULL,
          PRIMARY KEY(origin, fingerprint))""",
        b"""CREATE TABLE meterfabric.sink_certificates(
          fingerprint bytea PRIMARY KEY, chain bytea NOT NULL, not_before bigint NOT NULL, not_after bigint NOT NULL,
          first_seen bigint NOT NULL)""",
        b"""CREATE TABLE meterfabric.erased(
          origin text COLLATE "C" NOT NULL, idx bigint NOT NULL, leaf_hash bytea NOT NULL, erased_at bigint NOT NULL,
          reason text NOT NULL, PRIMARY KEY(origin, idx))""",
        b"""CREATE TABLE meterfabric.equivocations(
          origin text COLLATE "C" NOT NULL, fingerprint bytea NOT NULL, size bigint NOT NULL,
          note_held bytea NOT NULL, note_seen bytea NOT NULL, seen_at bigint NOT NULL,
          PRIMARY KEY(origin, fingerprint))""",
        b"""CREATE TABLE meterfabric.records(
          origin text COLLATE "C" NOT NULL, idx bigint NOT NULL, id text COLLATE "C", source text, type text,
          subject text, time timestamptz, data jsonb, raw bytea, PRIMARY KEY(origin, idx))""",
        b"CREATE INDEX records_by_id ON meterfabric.records(id)",
    ),
)


async def migrate(connection: AsyncConnection[Any]) -> None:
    """Bring the schema to this release's version. Raises DestinationRefused when it is of a newer release."""
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute("SELECT pg_advisory_xact_lock(%s)", (ADVISORY_LOCK,))
        await cursor.execute("SELECT to_regclass('meterfabric.schema_version') IS NOT NULL")
        if not (await cursor.fetchone() or (False,))[0]:
            await cursor.execute("CREATE SCHEMA IF NOT EXISTS meterfabric")
            await cursor.execute("CREATE TABLE meterfabric.schema_version(version integer NOT NULL)")
            await cursor.execute("INSERT INTO meterfabric.schema_version VALUES(0)")
        await cursor.execute("SELECT version FROM meterfabric.schema_version")
        version: int = (await cursor.fetchone() or (0,))[0]
        if version > len(MIGRATIONS):
            raise DestinationRefused(
                f"schema meterfabric is of version {version}, this release knows {len(MIGRATIONS)}; use the newer one"
            )
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                await cursor.execute(statement)
        if version < len(MIGRATIONS):
            await cursor.execute("UPDATE meterfabric.schema_version SET version = %s", (len(MIGRATIONS),))
