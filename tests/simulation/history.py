"""One history: a plan made from a seed, carried out, healed, run until quiet, checked."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

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


def run(
    seed: int,
    *,
    plan: Plan | None = None,
    keep: Collection[int] | None = None,
    tell: Callable[[str], None] | None = None,
) -> World:
    """Run the history of a seed; of its plan only the events numbered in ``keep`` where given.

    Raises:
        Violation: the history broke a rule.
    """
    plan = plan or make(seed)
    if keep is not None:
        plan = plan.keep(keep)
    kernel = Kernel(str(seed), tell)
    world = World(plan.config, kernel)
    try:
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
        run(seed, plan=plan)
    except Violation as violation:
        return Failure(seed, violation.rule, violation.detail, plan)
    return None


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
            raise Violation("not-quiet", _waiting(world))


def _waiting(world: World) -> str:
    lines = []
    for sidecar in world.sidecars.values():
        for log in sidecar.core.logs.values():
            for cursor in log.cursors.values():
                if cursor.acked < log.end or not cursor.known:
                    lines.append(f"{sidecar.name} {log.origin[-6:]} {cursor.sink} {cursor.acked} of {log.end}")
    return "; ".join(lines) or "sealing"
