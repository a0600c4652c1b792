"""The active log's end in memory: key, frontier, and how leaves become a sealed batch.

Computes only; what it seals is stored by whoever asked, and where that fails, `go_back` forgets it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import batch as batches
from meterfabric_protocol.batch import BatchHeader
from meterfabric_protocol.merkle import CompactRange

from .spool.rows import StoredBatch
from .spool.schema import row_crc
from .spool.writer import Sealing

COMPRESS_FROM: Final = 4096
"""Bytes of payload from which compressing is worth its header."""
_LEVEL: Final = 1


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch that was sealed: `row` is for the spool, `batch` travels, `after` is the log's frontier behind it."""

    row: Sealing
    batch: StoredBatch
    after: CompactRange
    root: bytes
    header: BatchHeader


class Sealer:
    """Seals batches at the end of one log, one after another.

    `log` is the spool's id of the log, `utc` the wall clock for people, `compression` "none" or "zstd".
    """

    def __init__(
        self,
        log: int,
        origin: str,
        key: Ed25519PrivateKey,
        frontier: CompactRange,
        utc: Callable[[], str],
        compression: Literal["none", "zstd"] = "none",
        batches_before: int = 0,
    ) -> None:
        self.batches = batches_before
        """Batches sealed in this log, also such as could not be stored."""
        self.log = log
        self.origin = origin
        self.frontier = frontier
        self._key = key
        self._utc = utc
        self._zstd = zstandard.ZstdCompressor(level=_LEVEL) if compression == "zstd" else None

    def go_back(self, frontier: CompactRange) -> None:
        """The log ends at `frontier` after all: what was sealed beyond it isn't stored."""
        self.frontier = frontier

    def seal(
        self,
        kind: Literal["records", "notices"],
        payload: bytes,
        hashes: bytes,
        now: float,
        seq: int | None = None,
        keys: Sequence[str] | None = None,
    ) -> Sealed:
        """Seal the leaves of a payload, whose hashes these are, at the log's end; `now` is the spool clock's reading.

        Records come with their keys and the seq under which the window finds them.
        """
        before = self.frontier
        header, after = batches.seal(self.origin, self._key, before, hashes, kind, payload)
        records = header.count if kind == "records" else 0
        root = after.root()
        row = Sealing(
            log=self.log,
            first=before.size,
            size=after.size,
            kind=kind,
            note=header.note,
            roots=header.roots,
            crc=row_crc(self.log, before.size, after.size, kind, header.note, header.roots),
            root=root,
            frontier=after.encode(),
            records=records,
            sealed_at=now,
            sealed_utc=self._utc(),
            codec=header.codec,
            length=header.length,
            body=payload,
            stored=len(payload),
            seq=seq,
            keys="\n".join(keys).encode() if keys is not None else None,
            leaf_hashes=hashes if keys is not None else None,
        )
        batch = StoredBatch(
            self.origin,
            before.size,
            after.size,
            kind,
            batches.encode_header(header),
            payload,
            header.note,
            records,
            now,
        )
        self.frontier = after
        self.batches += 1
        return Sealed(row, batch, after, root, header)

    def packs(self, sealed: Sealed) -> bool:
        """Whether compressing this batch is worth a thread's while."""
        return self._zstd is not None and sealed.row.length >= COMPRESS_FROM

    def pack(self, sealed: Sealed) -> Sealed:
        """The batch with its payload compressed, where that makes it smaller; from one thread at a time.

        Apart from `seal` because it needs no order and lets go of Python's lock: another thread does it meanwhile.
        """
        if self._zstd is None or sealed.batch.payload is None or not self.packs(sealed):
            return sealed
        header, body = batches.pack(sealed.batch.payload, sealed.header, self._zstd.compress)
        if header is sealed.header:
            return sealed
        row = sealed.row._replace(codec=header.codec, body=body, stored=len(body))
        batch = replace(sealed.batch, header=batches.encode_header(header), payload=body)
        return replace(sealed, row=row, batch=batch)
