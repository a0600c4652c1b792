"""Faults of PostgreSQL."""

import random

from tests.cluster import machine
from tests.e2e.ground import DISK, Ground
from tests.kubernetes.installed import METERING

_FILLER = f"/var/lib/{DISK}/filler"


class Stopped:
    """It is stopped in an orderly way, and comes back later with its disk."""

    def do(self, ground: Ground, chance: random.Random) -> str:
        """See faults.Fault."""
        _scale(ground, 0)
        return "by its Deployment"

    def undo(self, ground: Ground) -> None:
        """See faults.Fault."""
        _scale(ground, 1)


class Filled:
    """There is no byte left on its disk."""

    def do(self, ground: Ground, chance: random.Random) -> str:
        """See faults.Fault."""
        # PostgreSQL writes meanwhile, so how much is left isn't known before: it is full when no more can be written.
        machine.run(ground.keeper, ["sh", "-c", f"! cat /dev/zero > {_FILLER} 2> /dev/null"])
        return ground.keeper.name

    def undo(self, ground: Ground) -> None:
        """See faults.Fault."""
        machine.run(ground.keeper, ["rm", "--force", _FILLER])


def _scale(ground: Ground, replicas: int) -> None:
    ground.installed.kubectl("scale", "deployment/database", "-n", METERING, f"--replicas={replicas}")
