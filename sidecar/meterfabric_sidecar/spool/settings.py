"""What can be set about the spool."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Sizes are bytes. `quota` bounds database, WAL and quarantine together; the rest follow from it unless given."""

    quota: int
    reserve: int = 0
    """Kept for notices, receipts and stubs when records are refused; 0: a sixteenth of the quota, at most 16 MiB."""
    wal: int = 0
    """Where the WAL is folded back and cut to; 0: a sixteenth of the quota, at most 16 MiB."""
    ballast: int = 0
    """Set aside so that a full disk can be emptied again; 0: as much as `wal`."""
    quarantine: int = 0
    """Most that is kept of damaged bytes; 0: an eighth of the quota."""

    def __post_init__(self) -> None:
        if self.quota < MIB:
            raise ValueError(f"the spool's quota is {self.quota} bytes; it takes at least {MIB}")
        for name, share, most in (
            ("reserve", 16, 16 * MIB),
            ("wal", 16, 16 * MIB),
            ("ballast", 16, 16 * MIB),
            ("quarantine", 8, self.quota),
        ):
            if not getattr(self, name):
                object.__setattr__(self, name, min(most, self.quota // share))
