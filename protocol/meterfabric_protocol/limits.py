"""How large a record, a batch and what goes with it may be: one place, handed to every decoder."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, each inclusive. A decoder checks them before it allocates what they bound.

    All ends of a fabric share them: a sink that takes less than a sidecar sends would never give a receipt.
    """

    record_bytes: int = 262_144
    """Bytes of one record or notice, without the newline that ends it."""
    batch_records: int = 65_536
    """Leaves of one batch."""
    batch_bytes: int = 8_388_608
    """Bytes of one batch's payload before compression, newlines counted."""
    note_bytes: int = 2_048
    """Bytes of a batch's signed checkpoint."""
    chain_bytes: int = 16_384
    """Bytes of a certificate chain in PEM."""


DEFAULT: Final = Limits()

ATTRIBUTE_CHARACTERS: Final = 512
"""Characters of each context attribute of a record. The sidecar remembers (source, id) of every record for its window
of deduplication and sinks index id, where PostgreSQL's B-tree takes 2,704 bytes (4 per character here)."""
DEDUP_RECORDS: Final = 250_000
"""Records that a sidecar's window of deduplication holds at most, where a fabric says nothing else; the newest half of
them always."""
ORIGIN_BYTES: Final = 255
"""Bytes of a log's origin."""
NOTICE_RANGES: Final = 4_096
"""Ranges that one notice names: at their longest they still fit in a record's bytes."""
NOTICE_AGAIN: Final = 1_024
"""Batches of a forked log that one notice says stand again; as above."""
