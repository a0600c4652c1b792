"""Start-up, main loop and shutdown of the operator."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import time
from datetime import UTC, datetime

import kopf
from aiohttp import web

from meterfabric_operator.api.cluster import connect
from meterfabric_operator.api.events import Events
from meterfabric_operator.api.kinds import FABRIC_CHILDREN, children, kinds
from meterfabric_operator.api.lease import Lease
from meterfabric_operator.keys.secret_keeper import SecretKeeper
from meterfabric_operator.meters import Meters
from meterfabric_operator.objects import Key
from meterfabric_operator.reconciling.applying import Applier
from meterfabric_operator.reconciling.context import Context
from meterfabric_operator.reconciling.reconcile_fabric import reconcile_fabric
from meterfabric_operator.reconciling.reconcile_injection import reconcile_injection
from meterfabric_operator.reconciling.reconcile_request import reconcile_request
from meterfabric_operator.reconciling.reconcile_sink import reconcile_sink
from meterfabric_operator.scaling.autoscaler import Autoscaler
from meterfabric_operator.scaling.meters import ScalingMeters
from meterfabric_operator.settings import Settings
from meterfabric_operator.sidecars.injection import Injection
from meterfabric_operator.sidecars.missing import Missing
from meterfabric_operator.sidecars.replacing import Replacer
from meterfabric_operator.status.bookkeeper import Bookkeeper
from meterfabric_operator.watching import handlers
from meterfabric_operator.watching.census import Census
from meterfabric_operator.watching.observed import Observed
from meterfabric_operator.watching.queue import Queue
from meterfabric_operator.watching.secret_watch import SecretWatch
from meterfabric_runtime.entry import enter
from meterfabric_runtime.process import Stop, started
from meterfabric_runtime.web import WebBounds, add_probes, serve

_WORK = {
    "MeteringFabric": reconcile_fabric,
    "MeteringSink": reconcile_sink,
    "CertificateSigningRequest": reconcile_request,
    "MutatingWebhookConfiguration": reconcile_injection,
}
_GRACE = 15.0
_SILENT = 15.0


class _Health:
    """Alive while its parts run: a part that ends ends the process, so a probe has nothing to add.

    That the API server doesn't answer is not mended by starting again, so it makes the operator unready only.
    """

    def __init__(self, complete: asyncio.Event, lease: Lease) -> None:
        self._complete = complete
        self._lease = lease

    def unhealthy(self) -> list[str]:
        return []

    def unready(self) -> list[str]:
        found = [] if self._complete.is_set() else ["not everything was listed yet"]
        if (silence := self._lease.silence()) > _SILENT:
            found.append(f"the API server has not answered for {silence:.0f} s")
        return found


async def operate(settings: Settings, stop: Stop) -> None:
    """Watch, and act while the lease is held, until told to stop."""
    # It tells of every event, with all of its settings.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    served = kinds(settings.admission_api)
    identity = settings.identity or socket.gethostname()
    # The lease goes its own way: it is what says whether others may, and waits behind none of them.
    clear = await connect(served)
    lease = Lease(clear, settings.namespace, identity, settings.lease)
    cluster = await connect(served, lease.holds)
    observed = Observed()
    applier = Applier(cluster, observed)

    async def work(key: Key) -> None:
        begun = time.monotonic()
        try:
            await _WORK[key.kind](context, key)
        finally:
            meters.seconds.labels(key.kind).observe(time.monotonic() - begun)

    queue: Queue[Key] = Queue(work, lease.held)
    watching = handlers.Watching(observed, queue.add)
    events = Events(cluster, identity)
    injection = Injection(cluster, settings, time.monotonic)
    replacer = Replacer(cluster, injection, events, time.monotonic)
    meters = Meters(observed, watching, queue, applier, lease, injection, replacer)

    def now() -> datetime:
        return datetime.now(UTC)

    def later(key: Key, seconds: float) -> None:
        # What was looked at together isn't looked at together for ever.
        queue.add_later(key, seconds * (0.5 + random.random() / 2))  # noqa: S311 - jitter

    context = Context(
        settings,
        cluster,
        observed,
        applier,
        SecretKeeper(cluster, now),
        injection,
        Missing(events),
        replacer,
        events,
        now,
        later,
    )
    ending = asyncio.Event()
    app = web.Application()
    add_probes(app, _Health(watching.complete, lease), meters.registry)
    pages = await serve(app, settings.http_host, settings.http_port, WebBounds(connections=32))
    secrets = SecretWatch(cluster, settings.fabric_namespaces, watching.secret)
    keeper = Bookkeeper(cluster, observed, now, queue.add, settings.namespaces)
    autoscaler = Autoscaler(cluster, observed, context.events, now, queue.add)
    meters.registry.register(ScalingMeters(observed))
    left = set(FABRIC_CHILDREN) - set(children(settings))
    if settings.injection == "policy":
        left.add("MutatingWebhookConfiguration")
    watched = [kind for kind in watching.takers if kind not in left]
    census = Census(cluster, watching, watched, settings.namespaces)
    begun = asyncio.Event()

    async def watch() -> None:
        # kopf lists everything again, all kinds at a time; two who do that at once would hold twice as much.
        await watching.complete.wait()
        await kopf.operator(
            registry=handlers.register(watching, served, watched),
            settings=handlers.settings(served),
            clusterwide=not settings.namespaces,
            namespaces=list(settings.namespaces),
            standalone=True,
            ready_flag=begun,
            stop_flag=ending,
        )

    async def act() -> None:
        await begun.wait()
        # kopf took the signals when it started, and winds down for seconds, while we would go on acting.
        stop.listen()
        async with asyncio.TaskGroup() as group:
            group.create_task(queue.run(settings.workers))
            group.create_task(keeper.run(lease.held))
            group.create_task(autoscaler.run(lease.held))

    started()
    tasks = [asyncio.create_task(each) for each in (watch(), lease.run(), census.run(), act(), secrets.run())]
    stopping = asyncio.create_task(stop.wait())
    try:
        ended, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        if tasks[0] in ended and tasks[0].exception() is None:
            stop.request("a signal that came while watching began")
        elif stopping not in ended:
            ended.pop().result()
            raise RuntimeError("a part of the operator ended by itself")
    finally:
        # First nobody acts any more, then nobody watches, so that the next one may begin.
        for task in reversed(tasks[1:]):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        ending.set()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await tasks[0]
        stopping.cancel()
        await pages.close()
        await cluster.close()
        await clear.close()


def main() -> None:
    """The command `meterfabric-operator`."""
    enter("operator", Settings, operate, lambda _: _GRACE)


if __name__ == "__main__":
    main()
