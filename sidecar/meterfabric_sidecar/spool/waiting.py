"""Changes that may wait for the next transaction: losing them in a crash only repeats work."""

from dataclasses import dataclass, field

from meterfabric_protocol.delivery.effects import CursorRow


@dataclass
class Upkeep:
    """What waits. Logs are named by the spool's id."""

    cursors: dict[tuple[int, str], CursorRow | None] = field(default_factory=dict)
    """(log, sink) → the cursor, None where the sink left."""
    drops: dict[int, int] = field(default_factory=dict)
    """Log → drop the payloads of its records before this leaf."""
    recent_before: int = 0
    """Rows of `recent` with a smaller seq are past the window; 0: all such are gone."""

    def __bool__(self) -> bool:
        return bool(self.cursors or self.drops or self.recent_before)

    def drop(self, log: int, to: int) -> None:
        """Drop up to `to`, or further where that was asked before."""
        self.drops[log] = max(to, self.drops.get(log, 0))

    def forget(self, log: int) -> None:
        """Nothing of this log matters any more."""
        self.drops.pop(log, None)
        for key in [key for key in self.cursors if key[0] == log]:
            del self.cursors[key]

    def add_older(self, older: "Upkeep") -> None:
        """Take back what was asked earlier and not done; what was asked since stands over it."""
        self.cursors = {**older.cursors, **self.cursors}
        for log, to in older.drops.items():
            self.drop(log, to)
        self.recent_before = max(self.recent_before, older.recent_before)
