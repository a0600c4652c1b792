"""One history: a plan made from a seed, carried out, healed, run until quiet, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from unittest.mock import patch

from meterfabric_protocol import ed25519

from .checker import check
from .kernel import Kernel, Violation
from .plan import Event, Plan, make
from .world import World

HEALING = 400.0
"""Virtual seconds after which a healed fabric must be quiet."""


@dataclass(frozen=True)
class Failure:
    """A history that broke a rule."""

    seed: int
    rule: str
    detail: str
    plan: Plan


def run(seed: int, plan: Plan | None = None, tell: Callable[[str], None] | None = None) -> World:
    """Run the history of a seed, or another plan with the randomness of that seed.

    Raises:
        Violation: the history broke a rule.
    """
    plan = plan or make(seed)
    kernel = Kernel(str(seed), tell)
    with patch.object(ed25519, "verify", _verify_once):
        try:
            world = World(plan.config, kernel)
            world.start()
            for event in plan.events:
                _schedule(world, event)
            kernel.run(plan.end)
            world.heal()
            _until_quiet(world)
            check(world)
        except Violation:
            raise
        except Exception as error:
            raise Violation("exception", f"{type(error).__name__}: {error}") from error
    return world


def attempt(seed: int, plan: Plan | None = None) -> Failure | None:
    """Run a history; the failure where it broke a rule."""
    plan = plan or make(seed)
    try:
        run(seed, plan)
    except Violation as violation:
        return Failure(seed, violation.rule, violation.detail, plan)
    return None


_true_verify = ed25519.verify


@lru_cache(maxsize=1 << 14)
def _verify_once(name: str, public_key: bytes, signature: bytes, message: bytes) -> None:
    """The real verification, remembered where it succeeds: every end verifies the same signatures again."""
    _true_verify(name, public_key, signature, message)


def _schedule(world: World, event: Event) -> None:
    def due() -> None:
        world.kernel.trace("event", f"{event.number}: {event}")
        event.happen(world)

    world.kernel.at(event.at, due)


def _until_quiet(world: World) -> None:
    kernel = world.kernel
    end = kernel.now + HEALING
    calm = 0
    # Long enough for every sink to be asked once more where it is: it may have been restored unnoticed.
    while calm < world.config.producer["probe_interval"] + 3 or world.asking:
        kernel.run(kernel.now + 0.97)
        calm = calm + 1 if world.quiet else 0
        if kernel.now > end:
            if calm > 8 * world.config.producer["probe_interval"]:
                # All is delivered for long; a relay that still lies only has each question asked again elsewhere.
                return
            raise Violation("not-quiet", _waiting(world))


def _waiting(world: World) -> str:
    lines = []
    for sidecar in world.sidecars.values():
        for log in sidecar.core.logs.values():
            for cursor in log.cursors.values():
                if cursor.acked < log.end or not cursor.known:
                    lines.append(f"{sidecar.name} {log.origin[-6:]} {cursor.sink} {cursor.acked} of {log.end}")
    return "; ".join(lines) or "sealing"
