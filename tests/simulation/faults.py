"""What may happen to a fabric, each with how it is drawn. `FAULTS` names them all; a seed turns a few of them on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, TypeAlias

from . import setup
from .clone import Clone
from .liar import LIES
from .world import Config, World

Action: TypeAlias = Callable[[World], None]


@dataclass(frozen=True)
class Entry:
    """One thing that happens."""

    at: float
    name: str
    arguments: tuple[object, ...]
    action: Action


Draw: TypeAlias = Callable[[Random, Config, float], tuple[tuple[object, ...], Action]]
"""(randomness, fabric, seconds left) → (arguments for the trace, what happens)."""


def work(random: Random, config: Config, end: float) -> Iterator[Entry]:
    """Records that applications send."""
    for pod in config.pods:
        at = 0.0
        for number in range(random.randint(2, 12)):
            # In bursts and with pauses.
            at = random.uniform(0.05, end) if random.random() < 0.5 else min(end, at + random.uniform(0.0, 0.3))
            count = random.randint(1, 6)
            yield Entry(at, "submit", (pod, number, count), _submit(pod, number, count))


def _submit(pod: str, number: int, count: int) -> Action:
    records = [b'{"id":"%s-%d-%d"}' % (pod.encode(), number, index) for index in range(count)]
    return lambda world: world.sidecars[pod].submit(records)


def choose(random: Random, config: Config, end: float, needs: Collection[str] = ()) -> Iterator[Entry]:
    """The faults of a history; those in ``needs`` are among them."""
    likely = random.choice((0.05, 0.15, 0.3))
    for name, draw in FAULTS.items():
        if random.random() >= likely and name not in needs:
            continue
        for _ in range(random.choice((1, 1, 2, 4))):
            at = random.uniform(0.5, end)
            arguments, action = draw(random, config, end - at)
            yield Entry(at, name, arguments, action)


def _pod(random: Random, config: Config) -> str:
    return random.choice(config.pods)


def _sink(random: Random, config: Config) -> str:
    return random.choice(config.sinks).name


def _while(random: Random, left: float) -> float:
    return random.choice((random.uniform(0.1, 2.0), random.uniform(0.1, max(0.2, left))))


def _crash(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    pod, delay, after = _pod(random, config), _while(random, left), random.uniform(0.0, 0.02)
    # Mostly while records are on their way to the disk, or just there.
    records = _submit(pod, random.randint(1_000, 1_000_000), random.randint(1, 3)) if random.random() < 0.7 else None

    def happen(world: World) -> None:
        if records is not None:
            records(world)
        world.kernel.at(after, lambda: world.restart(pod, delay))

    return (pod, delay, records is not None), happen


def _terminate(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    pod, delay = _pod(random, config), _while(random, left)
    return (pod, delay), lambda world: world.terminate(pod, delay)


def _lose_key(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    pod, delay = _pod(random, config), random.uniform(0.1, 2.0)
    return (pod, delay), lambda world: world.lose_key(pod, delay)


def _back_up_spool(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    pod = _pod(random, config)
    return (pod,), lambda world: world.back_up_spool(pod)


def _roll_back(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    pod, delay, with_key = _pod(random, config), random.uniform(0.1, 2.0), random.random() < 0.5
    back, after = random.uniform(0.1, max(0.2, left)), random.choice((0.001, 0.001, 0.3))
    # Whether records come before the sinks had a chance to tell that the spool is behind.
    records = _submit(pod, random.randint(1000, 1_000_000), random.randint(1, 3)) if random.random() < 0.6 else None

    def happen(world: World) -> None:
        world.back_up_spool(pod)
        world.kernel.at(back, lambda: world.roll_back(pod, delay, with_key=with_key))
        if records is not None:
            world.kernel.at(back + delay + after, lambda: records(world))

    return (pod, back, delay, with_key, records is not None), happen


def _forked_for_one(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    """A spool goes back in time with its key; one sink knows what it held, another what it says next."""
    pod, back = _pod(random, config), random.uniform(0.1, max(0.2, left - 3.0))
    one, other = random.choice(config.sinks).name, random.choice(config.sinks).name
    records = [_submit(pod, random.randint(1_000, 1_000_000), random.randint(1, 3)) for _ in range(3)]

    def return_to_it(world: World) -> None:
        world.roll_back(pod, 0.5, with_key=True)
        world.sink_away(one, 2.5)
        world.kernel.at(0.501, lambda: records[1](world))
        world.kernel.at(0.9, lambda: records[2](world))

    def happen(world: World) -> None:
        world.back_up_spool(pod)
        world.sink_away(other, back + 0.3)
        records[0](world)
        world.kernel.at(back, lambda: return_to_it(world))

    return (pod, back, one, other), happen


def _rot(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    pod, pick = _pod(random, config), random.random()
    return (pod, pick), lambda world: world.rot(pod, pick)


def _operator_down(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    delay = _while(random, left)

    def happen(world: World) -> None:
        world.operator_up = False
        world.kernel.at(delay, lambda: setattr(world, "operator_up", True))

    return (delay,), happen


def _relay_crash(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    name, delay = random.choice(config.relays), _while(random, left)

    def happen(world: World) -> None:
        relay = world.relays[name]
        if relay.running:
            relay.crash()
            world.kernel.at(delay, lambda: relay.start() if name in world.relay_names and not relay.running else None)

    return (name, delay), happen


def _relay_drain(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    name, delay = random.choice(config.relays), 2.5 + _while(random, left)

    def happen(world: World) -> None:
        relay = world.relays[name]
        relay.drain()
        world.kernel.at(delay, lambda: relay.start() if name in world.relay_names and not relay.running else None)

    return (name, delay), happen


def _relays_change(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    names = [*config.relays, "relay-7", "relay-8"]
    chosen = tuple(sorted(random.sample(names, random.randint(1, len(names)))))
    return chosen, lambda world: world.change_relays(chosen)


def _lie(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    name, delay = random.choice(config.relays), _while(random, left)
    lies = frozenset(random.sample(LIES, random.choice((1, 1, 2, 3, len(LIES)))))
    often = random.choice((0.1, 0.3, 0.7, 1.0))

    def happen(world: World) -> None:
        relay = world.relays[name]
        relay.lies, relay.often = lies, often
        world.kernel.at(delay, lambda: setattr(relay, "lies", frozenset()))

    return (name, delay, sorted(lies), often), happen


def _worker_crash(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    sink, number, delay = _sink(random, config), random.randrange(3), _while(random, left)
    drain = random.random() < 0.3
    return (sink, number, delay, drain), lambda world: world.restart_worker(sink, number, delay, drain=drain)


def _sink_away(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    sink, delay = _sink(random, config), _while(random, left)
    return (sink, delay), lambda world: world.sink_away(sink, delay)


def _sink_restored(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    sink, delay = _sink(random, config), random.uniform(0.1, 2.0)
    back = random.uniform(0.1, max(0.2, left))

    def happen(world: World) -> None:
        world.back_up_sink(sink)
        world.kernel.at(back, lambda: world.restore_sink(sink, delay))

    return (sink, back, delay), happen


def _restored_and_replayed(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    """A sink goes back in time, and the relays play what it said before."""
    (sink, back, delay), restore = _sink_restored(random, config, left / 2)
    often = random.choice((0.3, 1.0))

    def happen(world: World) -> None:
        restore(world)
        for relay in world.relays.values():
            relay.lies, relay.often = frozenset({"replay-answers"}), often

    return (sink, back, delay, often), happen


def _restored_and_cloned(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    """A sink goes back in time, and takes there what a copy of the spool says next."""
    pod, sink, delay = _pod(random, config), _sink(random, config), random.uniform(0.1, 2.0)
    back, seed = random.uniform(0.5, max(0.6, left)), random.random()
    # Mostly the pod goes on as well, so that the two part; once all sinks have it, its payload may go.
    counts = random.choice(((), (3,), (2, 1), (1, 1, 1)))
    records = [_submit(pod, random.randint(1_000, 1_000_000), count) for count in counts]

    def happen(world: World) -> None:
        world.back_up_sink(sink)
        clone = Clone(world, pod)
        for number, submit in enumerate(records):
            world.kernel.at(0.01 + 0.2 * number, lambda submit=submit: submit(world))  # type: ignore[misc]

        def return_to_it() -> None:
            world.restore_sink(sink, delay)
            clone.feed(sink, Random(seed))

        world.kernel.at(back, return_to_it)

    return (pod, sink, back, delay, counts), happen


def _sinks_change(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    every = [*config.sinks, *config.joiners]
    chosen = random.sample(every, random.randint(1, len(every)))
    policies = tuple(policy for policy in every if policy in chosen)
    return tuple(policy.name for policy in policies), lambda world: world.change_sinks(policies)


def _store_down(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    sink, delay, flaky = _sink(random, config), _while(random, left), random.choice((0.0, 0.3))

    def happen(world: World) -> None:
        destination = world.destinations[sink]
        destination.down, destination.flaky = not flaky, flaky

        def up() -> None:
            destination.down, destination.flaky = False, 0.0

        world.kernel.at(delay, up)

    return (sink, delay, flaky), happen


def _clock_jump(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    name = random.choice((*config.pods, *config.relays, *(policy.name for policy in config.sinks)))
    offset, delay = random.choice((-7_200.0, -30.0, 30.0, 7_200.0, 200_000.0)), _while(random, left)

    def happen(world: World) -> None:
        world.jump(name, offset)
        world.kernel.at(delay, lambda: world.jump(name, 0.0))

    return (name, offset, delay), happen


def _part(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    client = random.choice((*config.pods, f"{_sink(random, config)}-0"))
    relay, delay = random.choice(config.relays), _while(random, left)

    def happen(world: World) -> None:
        world.network.part(client, relay)
        world.kernel.at(delay, lambda: world.network.parted.discard((client, relay)))

    return (client, relay, delay), happen


def _cut(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    client = random.choice((*config.pods, f"{_sink(random, config)}-0"))
    relay = random.choice(config.relays)
    return (client, relay), lambda world: world.network.cut(client, relay)


def _storm(random: Random, config: Config, left: float) -> tuple[tuple[object, ...], Action]:
    weather, delay = setup.weather(random), _while(random, left)

    def happen(world: World) -> None:
        world.network.weather = weather
        world.kernel.at(min(delay, left), lambda: setattr(world.network, "weather", world.config.weather))

    return (weather, delay), happen


FAULTS: Final[dict[str, Draw]] = {
    "crash": _crash,
    "terminate": _terminate,
    "lose-key": _lose_key,
    "back-up-spool": _back_up_spool,
    "roll-back": _roll_back,
    "forked-for-one": _forked_for_one,
    "rot": _rot,
    "operator-down": _operator_down,
    "relay-crash": _relay_crash,
    "relay-drain": _relay_drain,
    "relays-change": _relays_change,
    "lie": _lie,
    "worker-crash": _worker_crash,
    "sink-away": _sink_away,
    "sink-restored": _sink_restored,
    "restored-and-replayed": _restored_and_replayed,
    "sinks-change": _sinks_change,
    "store-down": _store_down,
    "clock-jump": _clock_jump,
    "part": _part,
    "cut": _cut,
    "storm": _storm,
    "restored-and-cloned": _restored_and_cloned,
}
