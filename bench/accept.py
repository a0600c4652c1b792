"""How long one record takes to be durable: a single record at a time, sent and answered, over HTTP and ZeroMQ."""

from __future__ import annotations

import http.client
import time
from contextlib import closing

from bench import fabric
from bench.events import Events
from bench.load import Client
from bench.report import quantile, say

REQUESTS = 2000
WARM_UP = 100


def measure() -> None:
    """Print the median and the 99th percentile of both ways in."""
    with fabric.running() as ours:
        _tell("accept_http", _http(ours, Events(1, 300, stream=2)))
        _tell("accept_zmq", _zmq(ours, Events(1, 300, stream=3)))


def _http(ours: fabric.Fabric, events: Events) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", ours.http_port, timeout=30)
    seconds = []
    for body in events.messages(WARM_UP + REQUESTS):
        begun = time.perf_counter()
        connection.request("POST", "/api/v1/events", body, {"Content-Type": "application/cloudevents+json"})
        answer = connection.getresponse()
        said = answer.read()
        seconds.append(time.perf_counter() - begun)
        if answer.status != http.client.NO_CONTENT:
            raise RuntimeError(f"the sidecar answered {answer.status}: {said!r}")
    connection.close()
    return seconds[WARM_UP:]


def _zmq(ours: fabric.Fabric, events: Events) -> list[float]:
    seconds = []
    with closing(Client(ours.ingest)) as client:
        for body in events.messages(WARM_UP + REQUESTS):
            begun = time.perf_counter()
            client.send(body)
            client.settle()
            seconds.append(time.perf_counter() - begun)
    return seconds[WARM_UP:]


def _tell(name: str, seconds: list[float]) -> None:
    say(f"{name}_p50", quantile(seconds, 0.50) * 1e3, "ms", f"{len(seconds)} single records, one after the other")
    say(f"{name}_p99", quantile(seconds, 0.99) * 1e3, "ms")
