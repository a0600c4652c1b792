"""Which fabric a history has: how many of each, how little room, how bad the network."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from meterfabric_protocol.delivery.effects import SinkPolicy

from .liar import LIES
from .network import CALM, Weather
from .world import Config


def config(random: Random) -> Config:
    """A small fabric, drawn."""
    names = ["billing", "archive", "audit"]
    sinks = tuple(_policy(random, name) for name in names[: random.choice((1, 1, 1, 2, 2, 3))])
    joiners = tuple(_policy(random, name) for name in names[len(sinks) :])
    relays = tuple(f"relay-{n}" for n in range(random.choice((1, 2, 2, 3))))
    producer = _producer(random)
    lies = random.random() < 0.15 and len(relays) > 1 and producer["sessions"] > 1
    return Config(
        pods=tuple(f"web-{n}" for n in range(random.choice((1, 1, 1, 2)))),
        relays=relays,
        liar=(random.choice(relays), random.choice(LIES)) if lies else None,
        sinks=sinks,
        joiners=joiners,
        workers=random.choice((1, 1, 2, 3)),
        weather=weather(random) if random.random() < 0.4 else CALM,
        producer=producer,
        relay=_relay(random),
        worker_window=random.choice((1_000, 8_000, 100_000)),
        quota=random.choice((250, 1_000)) if random.random() < 0.25 else 1 << 30,
        drain=random.choice((0.1, 2.0, 10.0)),
    )


def _policy(random: Random, name: str) -> SinkPolicy:
    policy = SinkPolicy(name, expiry=None)
    if random.random() < 0.25:
        policy = replace(policy, expiry=random.choice((3.0, 10.0)))
    if random.random() < 0.3:
        policy = replace(policy, when_full="expire-oldest")
    if random.random() < 0.2:
        policy = replace(policy, required=False)
    return policy


def weather(random: Random) -> Weather:
    """A bad network."""
    return Weather(
        drop=random.choice((0.0, 0.0, 0.05, 0.2)),
        double=random.choice((0.0, 0.0, 0.1, 0.3)),
        jitter=random.choice((0.0, 0.05, 1.0)),
        latency=random.choice((0.001, 0.02, 0.2)),
    )


def _producer(random: Random) -> dict[str, Any]:
    settings: dict[str, Any] = {"receipt_timeout": 1.0, "backoff_max": 8.0, "probe_interval": random.choice((4.0, 8.0))}
    settings["retain"] = random.choice((0.0, 0.0, 0.0, 5.0, 1000.0))
    settings["linger"] = random.choice((3.0, 3600.0, 3600.0))
    settings["head_interval"] = random.choice((2.0, 10.0))
    settings["sessions"] = random.choice((1, 2, 2))
    if random.random() < 0.3:
        settings["window"] = random.choice((1_000, 4_000))
    if random.random() < 0.3:
        settings["cache"] = random.choice((0, 100))
    if random.random() < 0.3:
        settings["fetch"] = 100
    if random.random() < 0.3:
        settings["burst"] = 1
    return settings


def _relay(random: Random) -> dict[str, Any]:
    settings: dict[str, Any] = {"max_message": 8_000, "idle_grant": random.choice((3.0, 15.0))}
    if random.random() < 0.4:
        settings |= {"memory": 4 * random.choice((3_000, 6_000, 20_000)), "chunk": random.choice((500, 4_000))}
    return settings
