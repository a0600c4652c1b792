"""Relays asked how busy they are, each on its page /load. One that can't be asked is missing, as for HPA."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import aiohttp

from meterfabric_operator import names
from meterfabric_operator.objects import Object
from meterfabric_operator.scaling.recommending import WHOLE, Standing, Told

log = logging.getLogger(__name__)

CALL: Final = aiohttp.ClientTimeout(total=3.0)

# As kube-controller-manager's flags have them by default: horizontal-pod-autoscaler-cpu-initialization-period and
# …-initial-readiness-delay. The window is what relays' shares are means of.
_INITIALIZATION: Final = timedelta(seconds=300)
_READINESS_DELAY: Final = timedelta(seconds=30)
_WINDOW: Final = timedelta(seconds=15)


async def ask(
    session: aiohttp.ClientSession, gate: asyncio.Semaphore, pods: Iterable[Object], now: datetime
) -> list[Told]:
    """What the relays of these pods say; those that end are left out. ``gate``: so many at a time."""

    async def one(pod: Object) -> Told | None:
        used = None
        if address := (pod.get("status") or {}).get("podIP"):
            async with gate:
                used = await _used(session, address)
        standing = standing_of(pod, told=used is not None, now=now)
        return None if standing is None else Told(standing, used or 0)

    found = await asyncio.gather(*(one(pod) for pod in pods if standing_of(pod, told=True, now=now) is not None))
    return [each for each in found if each is not None]


async def _used(session: aiohttp.ClientSession, address: str) -> int | None:
    host = f"[{address}]" if ":" in address else address
    try:
        async with session.get(f"http://{host}:{names.RELAY_PAGES}/load") as response:
            share = float(json.loads(await response.read())["utilization"])
            if response.status != 200 or not 0.0 <= share <= 1.0:
                raise ValueError(f"{response.status}, utilization {share}")
    except (OSError, TimeoutError, aiohttp.ClientError, ValueError, KeyError, TypeError) as error:
        log.info("a relay doesn't tell how busy it is", extra={"address": address, "reason": repr(error)})
        return None
    return round(share * WHOLE)


def standing_of(pod: Object, *, told: bool, now: datetime) -> Standing | None:
    """How a pod counts, by the rules that HPA has for the processor; None where it ends.

    A pod that starts isn't ready until it was so for a window. One that was ready once and isn't now still counts: it
    may be too busy to say so.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    if metadata.get("deletionTimestamp") or status.get("phase") in ("Failed", "Succeeded"):
        return None
    if status.get("phase") != "Running":
        return "Unready"
    if not told:
        return "Missing"
    ready = next((each for each in status.get("conditions") or [] if each["type"] == "Ready"), None)
    if ready is None or not status.get("startTime"):
        return "Unready"
    started, since = _time(status["startTime"]), _time(ready["lastTransitionTime"])
    if started + _INITIALIZATION > now:
        unready = ready["status"] == "False" or now < since + _WINDOW
    else:
        unready = ready["status"] == "False" and started + _READINESS_DELAY > since
    return "Unready" if unready else "Reporting"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
