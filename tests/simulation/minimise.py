"""Makes a failing history small: drops events while it still breaks the same rule."""

from __future__ import annotations

from .history import Failure, attempt
from .plan import Plan


def minimise(failure: Failure, most: int = 300) -> Failure:
    """The smallest failure found in at most ``most`` attempts: halves first, then one event after another."""
    best = failure
    tries = 0

    def fails(plan: Plan) -> bool:
        nonlocal best, tries
        tries += 1
        found = attempt(failure.seed, plan)
        if found is None or found.rule != failure.rule:
            return False
        best = found
        return True

    fails(best.plan.calm())
    size = max(1, len(best.plan.events) // 2)
    while tries < most:
        before = len(best.plan.events)
        at = 0
        while at < len(best.plan.events) and tries < most:
            numbers = [event.number for event in best.plan.events]
            if not fails(best.plan.keep(numbers[:at] + numbers[at + size :])):
                at += size
        if size == 1 and len(best.plan.events) == before:
            break
        size = max(1, size // 2)
    return best


def report(failure: Failure) -> str:
    """What a person needs: the seed, the rule, the events that are left and the command that replays them."""
    plan = failure.plan
    keep = ",".join(str(event.number) for event in plan.events) or "none"
    calm = " --calm" if plan.config.weather == plan.calm().config.weather else ""
    return "\n".join(
        [
            f"seed {failure.seed} breaks the rule {failure.rule!r}: {failure.detail}",
            f"  fabric: {plan.config}",
            *(f"  {event.at:8.3f} {event}" for event in plan.events),
            f"replay: python -m tests.simulation --seed {failure.seed} --keep {keep}{calm} --trace",
        ]
    )
