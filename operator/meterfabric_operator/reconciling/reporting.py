"""Writing a status: only when something in it changed, with an event for each condition that did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meterfabric_operator.objects import Object, key_of, to_time
from meterfabric_operator.reconciling.context import Context
from meterfabric_operator.status import conditions as c

_PASSING = ("NotMade", "Progressing")
"""Reasons that tell of a beginning, not of something wrong."""


async def report(context: Context, body: Object, found: Sequence[c.Condition], more: dict[str, Any]) -> None:
    """Write conditions and other fields of a fabric's or sink's status. ``more``: None removes a field."""
    held: Object = body.get("status") or {}
    generation = body["metadata"]["generation"]
    now = to_time(context.now())
    made = c.merged(
        held.get("conditions") or [], found, generation, now, c.OF_FABRIC if body["kind"] == "MeteringFabric" else ()
    )
    wanted = {"observedGeneration": generation, "conditions": made, **more}
    if all(held.get(name) == value for name, value in wanted.items()):
        return
    news = c.changed(held.get("conditions") or [], made)
    if _unclosed(more) > _unclosed(held):
        news += [each for each in made if each["type"] == "BooksBalanced" and each not in news]
    await context.cluster.patch(key_of(body), {"status": wanted}, "status")
    # What watching will tell soon; until then another look must not tell the same again.
    body["status"] = {**held, **{name: value for name, value in wanted.items() if value is not None}}
    # Ready says what the part says that fails; a person is told once.
    for each in {(each["reason"], each["message"]): each for each in news}.values():
        if each["type"] in ("AbleToScale", "ScalingLimited"):
            continue  # changes of size are told by the autoscaler
        bad = (each["status"] == "False" and each["reason"] not in _PASSING) or each["reason"] == "SomeGivenUp"
        await context.events.tell(body, "Warning" if bad else "Normal", each["reason"], each["message"])


def _unclosed(status: Mapping[str, Any]) -> int:
    return int((status.get("books") or {}).get("unclosed", 0))
