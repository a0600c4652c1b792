"""What ingest has seen, as plain numbers that whoever serves metrics may read at any time."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts since the start, of one way in."""

    messages: int = 0  # answered as accepted
    records: int = 0
    bytes: int = 0
    refused: Counter[int] = field(default_factory=Counter)  # messages, by HTTP status

    def accepted(self, records: int, size: int) -> None:
        self.messages += 1
        self.records += records
        self.bytes += size
