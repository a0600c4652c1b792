"""Start-up, main loop and shutdown of a sink worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time

import zstandard
from aiohttp import web

from meterfabric_protocol.delivery.settings import SinkSettings
from meterfabric_protocol.delivery.sink import SinkCore
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.limits import Limits
from meterfabric_runtime.discovery import relay_source
from meterfabric_runtime.entry import enter
from meterfabric_runtime.process import Stop, started
from meterfabric_runtime.ready import Ready, write_ready
from meterfabric_runtime.trust import TrustFile
from meterfabric_runtime.web import WebBounds, add_probes, serve
from meterfabric_sink.books_page import add_books
from meterfabric_sink.destination.base import Destination, DestinationDown, DestinationRefused
from meterfabric_sink.destination.open import destination
from meterfabric_sink.health import Health
from meterfabric_sink.links import Links
from meterfabric_sink.meters import Meters
from meterfabric_sink.own_chain import OwnChain
from meterfabric_sink.settings import Settings
from meterfabric_sink.worker import Worker

log = logging.getLogger(__name__)

_WORD = 2.0
"""How long relays' word is waited for that they gave us all they will."""
_PAUSES = (0.1, 5.0)
"""First and longest pause between two tries to open the destination."""


def decompress(data: bytes, length: int) -> bytes:
    """Undo zstd, never making more than ``length`` bytes. Raises Malformed."""
    try:
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Malformed("batch payload", f"zstd: {error}") from None


async def serve_sink(settings: Settings, stop: Stop) -> None:
    """Run one worker until told to stop, or its key is replaced, then finish what it took."""
    store = destination(settings.url)
    own = OwnChain(settings.chain, settings.key, store)
    trust = TrustFile(settings.trust)
    limits = Limits(record_bytes=settings.record_bytes)
    core = SinkCore(SinkSettings(settings.fabric, settings.name, limits), own.key, trust.verifier(), decompress)
    meters = Meters()
    links = Links(settings, own)
    worker = Worker(
        core, store, links.reply, meters, group_bytes=settings.group_bytes, group_batches=settings.group_batches
    )
    links.take = worker.take
    health = Health(worker, links)
    app = web.Application()
    add_probes(app, health, meters.registry)
    add_books(app, settings.name, settings.url)
    pages = await serve(app, settings.http_host, settings.http_port, WebBounds())
    # Whoever looks finds the pages, and on them why, while the destination can't be opened.
    write_ready(settings.ready_file, Ready(os.getpid(), 0, pages.port))
    try:
        if await _open(store, own, meters, health, stop):
            relays = relay_source(settings.relays, links.set)
            relays.look()
            started()
            work = (worker.run(), relays.run(), own.run(), _follow(trust, core))
            await _run([asyncio.create_task(each) for each in work], worker, links, stop, settings.drain)
    finally:
        links.close()
        await pages.close()
        await store.close()


async def _open(store: Destination, own: OwnChain, meters: Meters, health: Health, stop: Stop) -> bool:
    """Open the destination, as often as it takes; False where the worker is to stop before."""
    pause = _PAUSES[0]
    while not stop.requested:
        try:
            await store.open()
            await own.keep()
        except (DestinationDown, DestinationRefused) as error:
            why = " ".join(str(error).split())
            if why != health.opening:
                log.warning("the destination can't be opened yet", extra={"reason": why})
            health.opening = why
            meters.down.inc()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            pause = min(pause * 2, _PAUSES[1])
        else:
            health.opening = None
            return True
    return False


async def _run(tasks: list[asyncio.Task[None]], worker: Worker, links: Links, stop: Stop, drain: float) -> None:
    """Until told to stop or a task ends, then finish what was taken, in at most `drain` seconds. Raises as tasks do."""
    try:
        ended, _ = await asyncio.wait(
            [*tasks, stopping := asyncio.create_task(stop.wait())], return_when="FIRST_COMPLETED"
        )
        if stopping not in ended:
            ended.pop().result()
        links.drain()
        begun = time.monotonic()
        deadline = begun + min(drain, stop.remaining())
        while (now := time.monotonic()) < deadline:
            # A relay that hangs says nothing back.
            if worker.idle and (links.drained or now >= begun + _WORD):
                break
            await asyncio.sleep(0.02)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(trust: TrustFile, core: SinkCore) -> None:
    """Judge by the bundle as it is now."""
    while True:
        await asyncio.sleep(1.0)
        core.trust(trust.verifier())


def main() -> None:
    """The command `meterfabric-sink`."""
    enter("sink", Settings, serve_sink, lambda settings: settings.drain + 5.0)


if __name__ == "__main__":
    main()
