"""Start-up, main loop and shutdown of a sink worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import time
from collections.abc import Mapping

import zmq
import zstandard
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.sink import SinkCore, SinkSettings
from meterfabric_protocol.delivery.verdict import Incoming
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.hello import VERSION, HelloBody, sign_hello
from meterfabric_protocol.identity import cosigner
from meterfabric_protocol.limits import Limits
from meterfabric_runtime.curve import from_z85
from meterfabric_runtime.discovery import RelayFile
from meterfabric_runtime.entry import enter
from meterfabric_runtime.process import Stop, started
from meterfabric_runtime.ready import Ready, write_ready
from meterfabric_runtime.relay_link import HelloFrames, RelayLink
from meterfabric_runtime.trust import TrustFile
from meterfabric_runtime.web import WebBounds, add_probes, serve
from meterfabric_runtime.zmq_options import Bounds
from meterfabric_sink.destination.base import DestinationDown
from meterfabric_sink.destination.open import destination
from meterfabric_sink.meters import Meters
from meterfabric_sink.own_chain import OwnChain
from meterfabric_sink.settings import Settings
from meterfabric_sink.worker import Worker

log = logging.getLogger(__name__)


def decompress(data: bytes, length: int) -> bytes:
    """Undo zstd, never making more than ``length`` bytes. Raises Malformed."""
    try:
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Malformed("batch payload", f"zstd: {error}") from None


class Links:
    """The worker's sessions with all relays; every relay may route any log here."""

    def __init__(self, settings: Settings, key: Ed25519PrivateKey, own: OwnChain, worker: list[Worker]) -> None:
        self._settings = settings
        self._key = key
        self._own = own
        self._server_key = from_z85(settings.relay_key)
        self._worker = worker
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._jitter = random.SystemRandom()
        self.links: dict[str, RelayLink] = {}

    def set(self, relays: Mapping[str, str]) -> None:
        """Hold a session with each of these, and no other."""
        for name in [n for n, link in self.links.items() if relays.get(n) != link.endpoint]:
            self.links.pop(name).close()
        for name in relays.keys() - self.links.keys():
            self.links[name] = RelayLink(
                self._context,
                name,
                relays[name],
                self._server_key,
                self._hello,
                on_hello=lambda _name, _nonce: None,
                on_message=self._message,
                on_lost=lambda _name: None,
                bounds=Bounds(
                    message=self._settings.max_message, queued=100_000, heartbeat=2_000, heartbeat_timeout=6_000
                ),
                jitter=self._jitter,
            )

    def reply(self, item: Incoming, body: bytes, signature: bytes) -> None:
        """Send an answer back the way its message came. Raises KeyError where that relay is gone."""
        name, seq = item.ticket
        self.links[name].send(m.Reply(seq), (body, signature))

    def drain(self) -> None:
        """Tell relays to give what comes next to others."""
        for link in self.links.values():
            link.send(m.Draining())

    def close(self) -> None:
        """End all sessions."""
        for link in self.links.values():
            link.close()
        self._context.term()

    def _hello(self, client_curve: bytes) -> HelloFrames:
        settings = self._settings
        nonce = secrets.token_bytes(16)
        body = HelloBody(
            VERSION,
            "sink",
            cosigner(settings.fabric, settings.name),
            client_curve,
            self._server_key,
            nonce,
            settings.worker,
            settings.window,
            int(time.time()),
        )
        return HelloFrames(nonce, (*sign_hello(body, self._key), self._own.current.chain))

    def _message(self, relay: str, message: m.Message, frames: list[zmq.Frame]) -> None:
        if isinstance(message, m.Deliver | m.Listen):
            head = isinstance(message, m.Listen)
            self._worker[0].take(
                Incoming(
                    (relay, message.seq),
                    message.origin,
                    message.nonce,
                    message.epoch,
                    chain=frames[0].bytes,
                    header=frames[1].bytes,
                    payload=frames[2].buffer if len(frames) > 2 and not head else None,
                    head=head,
                    probe=isinstance(message, m.Listen) and message.probe,
                )
            )
        elif isinstance(message, m.Refused):
            log.warning("a relay refused", extra={"relay": relay, "reason": message.reason, "detail": message.detail})


class _Health:
    def __init__(self, worker: Worker, links: Links) -> None:
        self._worker = worker
        self._links = links

    def unhealthy(self) -> list[str]:
        return []

    def unready(self) -> list[str]:
        reasons = [f"destination: {self._worker.down}"] if self._worker.down else []
        if not any(link.welcomed for link in self._links.links.values()):
            reasons.append("no relay")
        return reasons


async def _follow(trust: TrustFile, core: SinkCore) -> None:
    """Judge by the bundle as it is now."""
    while True:
        await asyncio.sleep(1.0)
        core.verifier = trust.verifier()


async def serve_sink(settings: Settings, stop: Stop) -> None:
    """Run one worker until told to stop, then finish what it took."""
    key = load_pem_private_key(settings.key.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{settings.key}: the sink's signing key must be Ed25519")
    trust = TrustFile(settings.trust)
    core = SinkCore(
        SinkSettings(settings.fabric, settings.name, Limits(record_bytes=settings.record_bytes)),
        key,
        trust.verifier(),
        decompress,
    )
    store = destination(settings.url)
    own = OwnChain(settings.chain, store)
    while not stop.requested:
        try:
            await store.open()
            await own.keep()
            break
        except DestinationDown as error:
            log.warning("the destination can't be opened yet", extra={"reason": str(error)})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
    meters = Meters()
    holder: list[Worker] = []
    links = Links(settings, key, own, holder)
    worker = Worker(core, store, links.reply, meters, group_bytes=settings.group_bytes)
    holder.append(worker)
    relays = RelayFile(settings.relays, links.set)
    relays.look()
    app = web.Application()
    add_probes(app, _Health(worker, links), meters.registry)
    pages = await serve(app, settings.http_host, settings.http_port, WebBounds())
    write_ready(settings.ready_file, Ready(os.getpid(), 0, pages.port))
    started()
    tasks = [asyncio.create_task(work) for work in (worker.run(), relays.run(), own.run())]
    try:
        ended, _ = await asyncio.wait(
            [*tasks, stopping := asyncio.create_task(stop.wait())], return_when="FIRST_COMPLETED"
        )
        if stopping not in ended:
            ended.pop().result()
        links.drain()
        deadline = time.monotonic() + min(settings.drain, stop.remaining())
        while not worker.idle and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        links.close()
        await pages.close()
        await store.close()


def main() -> None:
    """The command `meterfabric-sink`."""
    enter("sink", Settings, serve_sink, lambda settings: settings.drain + 5.0)


if __name__ == "__main__":
    main()
