"""What a kubelet says of each pod now: one answer of its page /metrics/resource (Prometheus text format 0.0.4).

Counters here are the kubelet's own. Turning two scans into usage is `usage.py`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

_CPU, _MEMORY = "pod_cpu_usage_seconds_total", "pod_memory_working_set_bytes"
_CONTAINER_CPU, _START = "container_cpu_usage_seconds_total", "container_start_time_seconds"
_ERRORS = ("resource_scrape_error", "scrape_error")


class ScrapeFailed(Exception):
    """The kubelet gave no scan that can be billed from; what a pod uses meanwhile is in the next one."""


class Pod(msgspec.Struct, frozen=True, order=True, array_like=True):
    """Names a pod. The kubelet's page tells no UID, so one made anew under its name has to be told by its counter."""

    namespace: str
    name: str


class Container(msgspec.Struct, frozen=True, array_like=True):
    """A container that runs now: when it began, milliseconds since the epoch, and what it used since."""

    start_ms: int
    cpu_ns: int


class Reading(msgspec.Struct, frozen=True):
    """One pod at the moment at which the kubelet looked."""

    at_ms: int
    """That moment, milliseconds since the epoch, by the node's clock."""
    cpu_ns: int
    """Core-nanoseconds of all its containers, those that ended too, since the pod began."""
    memory_bytes: int
    """Working set now."""
    containers: tuple[Container, ...] = ()
    """Those that run now. The kubelet may have looked at them some seconds before or after it looked at the pod."""


class Scan(msgspec.Struct, frozen=True):
    """All pods of a node."""

    at_ms: int
    """When it was asked for, milliseconds since the epoch, by the agent's clock."""
    pods: dict[Pod, Reading]


def parse(page: str, at_ms: int) -> Scan:
    """Decode /metrics/resource; `at_ms` also stands for samples that have no timestamp.

    A pod that lacks its CPU or its memory (its first moments) is left out. Raises ScrapeFailed where the page is none,
    or where the kubelet says that it could not look everywhere.
    """
    cpu: dict[Pod, tuple[int, int]] = {}
    memory: dict[Pod, int] = {}
    starts: dict[tuple[Pod, str], int] = {}
    spent: dict[tuple[Pod, str], int] = {}
    for sample in _samples(page):
        if sample.name in _ERRORS and sample.value:
            raise ScrapeFailed("the kubelet could not look at all its containers")
        pod = Pod(sample.labels.get("namespace", ""), sample.labels.get("pod", ""))
        container = pod, sample.labels.get("container", "")
        if not math.isfinite(sample.value) or sample.value < 0 or not pod.name:
            continue
        if sample.name == _CPU:
            at = at_ms if sample.timestamp is None else round(float(sample.timestamp) * 1000)
            cpu[pod] = at, _nanoseconds(sample)
        elif sample.name == _MEMORY:
            memory[pod] = round(sample.value)
        elif sample.name == _CONTAINER_CPU:
            spent[container] = _nanoseconds(sample)
        elif sample.name == _START:
            starts[container] = round(sample.value * 1000)
    running: dict[Pod, list[Container]] = {}
    for (pod, name), start_ms in sorted(starts.items()):
        running.setdefault(pod, []).append(Container(start_ms, spent.get((pod, name), 0)))
    pods = {
        pod: Reading(at, used, memory[pod], tuple(running.get(pod, ())))
        for pod, (at, used) in sorted(cpu.items())
        if pod in memory
    }
    return Scan(at_ms, pods)


def _nanoseconds(sample: Sample) -> int:
    return round(sample.value * 1_000_000_000)


def _samples(page: str) -> Iterator[Sample]:
    seen = False
    try:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                seen = True
                yield sample
    except ValueError as error:
        raise ScrapeFailed(f"the kubelet's page can't be read: {error}") from error
    if not seen:
        raise ScrapeFailed("the kubelet's page is empty")
