"""What each pod consumed between two scans of its node. No I/O: the books so far and a scan in, usage and books out.

A pod's own counter is used, not its containers': it goes on over their restarts and holds what ended ones used. The
rules, so that nothing is billed twice, nothing negative, and nothing that was not measured:

- A pod known from before counts what its counter grew. A scan that was missed, or that lacks the pod, makes its next
  interval longer; no CPU is lost. Its reading is kept for an hour in which it is not seen.
- A pod never seen before counts what its containers used that began after the horizon: the first scan of these books.
  What older ones used, or ones that ended, may be billed already, by the agent before us. (A kubelet leaves out pods of
  which no container runs, so that one never seen may be old.) One without such a container counts from now on.
- A counter that fell, with all containers younger than the reading before, is another pod of the same name, and counts
  as one never seen. With an older container it is the same pod and the counter is wrong: nothing counts until it is
  past where it was. With no container running it can't be told: that waits for the next scan.
- A pod that is gone counts nothing for the last part of an interval, and one made anew under its name whose counter
  overtook the old one within an interval counts the difference: lower bounds, both.
- Memory is the mean of both readings times the time between them; a new pod's counts from its oldest container's start.
- A reading no newer than the one before (kubelets look every ten seconds or so) says nothing new.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kube_usage.scan import Pod, Reading, Scan

KEEP_MS = 3_600_000
"""How long the reading of a pod that is not seen is kept."""
MOST_PODS = 20_000
"""So many readings are kept at most; those not seen for the longest time go first."""


class Usage(msgspec.Struct, frozen=True):
    """One pod's consumption from `start_ms` to `end_ms`, milliseconds since the epoch."""

    pod: Pod
    start_ms: int
    end_ms: int
    cpu_core_ns: int
    memory_byte_ms: int


class Books(msgspec.Struct, frozen=True):
    """What has to be known of all scans before. What a container that began after `horizon_ms` used was billed only if
    its pod is in `readings`: the last reading of each pod, up to which it was billed."""

    horizon_ms: int
    at_ms: int
    """When the last scan was asked for."""
    readings: dict[Pod, Reading]


def begin(scan: Scan) -> Books:
    """The books of an agent that knows nothing of the time before."""
    return Books(max([scan.at_ms, *(each.at_ms for each in scan.pods.values())]), scan.at_ms, dict(scan.pods))


def advance(books: Books, scan: Scan) -> tuple[Books, list[Usage]]:
    """Usage since the last scan, by pod, and the books after it. The scan's time is made to be later than the last."""
    readings = dict(books.readings)
    used: list[Usage] = []
    for pod, now in scan.pods.items():
        kept, usage = _look(pod, readings.get(pod), now, books.horizon_ms)
        readings[pod] = kept
        if usage is not None:
            used.append(usage)
    horizon_ms, readings = _forget(books.horizon_ms, readings, scan.pods)
    return Books(horizon_ms, max(scan.at_ms, books.at_ms + 1), readings), used


def _look(pod: Pod, before: Reading | None, now: Reading, horizon_ms: int) -> tuple[Reading, Usage | None]:
    """The reading to keep of a pod, and what it used; None where nothing can be said yet."""
    if before is None:
        return now, _young(pod, now, horizon_ms)
    if now.at_ms <= before.at_ms:
        return before, None
    if now.cpu_ns < before.cpu_ns:
        if not now.containers:
            return before, None
        if all(each.start_ms > before.at_ms for each in now.containers):
            return now, _young(pod, now, before.at_ms)
        now = msgspec.structs.replace(now, cpu_ns=before.cpu_ns)
    memory = (before.memory_bytes + now.memory_bytes) * (now.at_ms - before.at_ms) // 2
    return now, Usage(pod, before.at_ms, now.at_ms, now.cpu_ns - before.cpu_ns, memory)


def _young(pod: Pod, now: Reading, since_ms: int) -> Usage | None:
    """What those of a pod's containers used that began after `since_ms`; None where none did.

    One that began when the pod had been looked at already is in its next reading.
    """
    young = [each for each in now.containers if since_ms < each.start_ms < now.at_ms]
    if not young:
        return None
    # The pod's own counter bounds it, since a container may have been looked at later than the pod.
    used = min(now.cpu_ns, sum(each.cpu_ns for each in young))
    start_ms = min(each.start_ms for each in young)
    return Usage(pod, start_ms, now.at_ms, used, now.memory_bytes * (now.at_ms - start_ms))


def _forget(
    horizon_ms: int, readings: dict[Pod, Reading], seen: Mapping[Pod, Reading]
) -> tuple[int, dict[Pod, Reading]]:
    """Drop readings of pods that are gone. The horizon moves past each: what comes back is not taken for new."""
    newest = max([horizon_ms, *(each.at_ms for each in readings.values())])
    absent = sorted((reading.at_ms, pod) for pod, reading in readings.items() if pod not in seen)
    over = len(readings) - MOST_PODS
    gone = {pod: at_ms for number, (at_ms, pod) in enumerate(absent) if at_ms < newest - KEEP_MS or number < over}
    if not gone:
        return horizon_ms, readings
    kept = {pod: reading for pod, reading in readings.items() if pod not in gone}
    return max(horizon_ms, *gone.values()), kept
