"""Start-up, main loop and shutdown of a sidecar."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar

import zmq
from aiohttp import web

from meterfabric_protocol.batch import BatchHeader
from meterfabric_protocol.delivery import effects as e
from meterfabric_protocol.delivery.credential import bare
from meterfabric_protocol.delivery.permit import sign_permit
from meterfabric_protocol.delivery.producer import ProducerCore
from meterfabric_protocol.delivery.settings import ProducerSettings
from meterfabric_protocol.hello import VERSION, HelloBody, sign_hello
from meterfabric_protocol.limits import Limits
from meterfabric_protocol.names import Producer
from meterfabric_protocol.names import Sink as SinkName
from meterfabric_runtime.curve import from_z85
from meterfabric_runtime.discovery import relay_source
from meterfabric_runtime.entry import enter
from meterfabric_runtime.process import Stop, started
from meterfabric_runtime.ready import Ready, write_ready
from meterfabric_runtime.relay_link import HelloFrames
from meterfabric_runtime.trust import TrustFile
from meterfabric_runtime.web import WebBounds, WebServer, serve
from meterfabric_sidecar import sinks
from meterfabric_sidecar.asking import authority_of
from meterfabric_sidecar.dedup import Dedup
from meterfabric_sidecar.enrolment import Enrolment
from meterfabric_sidecar.ingest.http import HttpBounds, HttpIngest
from meterfabric_sidecar.ingest.zeromq import ZeromqBounds, ZeromqIngest
from meterfabric_sidecar.ingest_meters import IngestMeters
from meterfabric_sidecar.intake import Intake, IntakeSettings
from meterfabric_sidecar.keys import KeyFolder
from meterfabric_sidecar.meters import Meters
from meterfabric_sidecar.pages import Pages
from meterfabric_sidecar.producer_log import ProducerLog, origin_maker
from meterfabric_sidecar.settings import Settings
from meterfabric_sidecar.shipper import Shipper
from meterfabric_sidecar.spool import Spool, SpoolFull
from meterfabric_sidecar.spool.settings import SpoolSettings

log = logging.getLogger(__name__)
T = TypeVar("T")

_SINKS = "sinks"
"""Where the spool keeps which sinks there were last."""


class Sidecar:
    """The parts of one sidecar, put together."""

    def __init__(self, settings: Settings, spool: Spool, policies: tuple[e.SinkPolicy, ...]) -> None:
        self.settings = settings
        self.spool = spool
        self.meters = Meters()
        self.limits = Limits(record_bytes=settings.record_bytes)
        self.log = ProducerLog(
            spool,
            KeyFolder(settings.key_dir),
            origin_maker(settings.fabric, settings.namespace, settings.pod),
            settings.compression,
        )
        self.dedup = Dedup(spool, settings.spool.dedup_records, settings.spool.dedup_seconds)
        self.intake = Intake(
            self.log,
            self.dedup,
            IntakeSettings(**asdict(settings.batch)),
            self.limits,
        )
        self._server_key = from_z85(settings.relay_key)
        self._trust = TrustFile(settings.trust, given=settings.trust_given.encode())
        self._chain = b""
        subject = Producer(
            settings.trust_domain,
            settings.fabric,
            settings.namespace,
            settings.service_account,
            settings.pod,
            settings.pod_uid,
        )
        self.enrolment = Enrolment(authority_of(settings), subject.spiffe, self._on_chain)
        core = ProducerCore(
            ProducerSettings(
                settings.fabric,
                f"{settings.namespace}/{settings.pod}",
                secrets.token_bytes(32),
                receipt_timeout=settings.receipt_timeout,
                retain=settings.spool.retain,
            ),
            policies,
            self._verify_sink,
            self._sign_permit,
        )
        self.shipper = Shipper(
            core,
            spool,
            self.intake,
            self.meters,
            server_key=self._server_key,
            make_hello=self._hello,
            on_fork=lambda fork: self.intake.fork(fork.origin, fork.common, fork.heard),
            on_opened=self._opened,
            max_message=settings.max_message,
        )
        self._kept: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Go on with the log of before, or begin one; take over what is to be delivered."""
        await self.dedup.load()
        await self.log.open()
        await self.shipper.start()
        self.intake.on_sealed = self.log.on_sealed = self.shipper.on_sealed
        self.intake.on_committed = self.meters.commit_seconds.observe
        row = await self.spool.log(self.log.origin)
        self._chain = row.chain or b""
        self.enrolment.begin(self.log.origin, self.log.key, row.chain)

    def _opened(self, origin: str) -> bytes:
        """A log was opened in place of one that ended: it needs a certificate of its own. Returns its bare key."""
        self._chain = b""
        self.enrolment.begin(origin, self.log.key, None)
        return bare(self.log.key.public_key())

    def _on_chain(self, origin: str, chain: bytes, not_after: datetime) -> None:
        if origin != self.log.origin:
            return
        self._chain = chain
        self.meters.certificate.set(not_after.timestamp())
        task = asyncio.get_running_loop().create_task(self.spool.set_chain(origin, chain))
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)
        self.shipper.enrolled(origin, chain)

    def _hello(self, client_curve: bytes) -> HelloFrames | None:
        if not self._chain:
            return None
        nonce = secrets.token_bytes(16)
        body = HelloBody(
            VERSION, "producer", self.log.origin, client_curve, self._server_key, nonce, "", 0, int(time.time())
        )
        return HelloFrames(nonce, (*sign_hello(body, self.log.key), self._chain))

    def _sign_permit(self, stub: BatchHeader, sinks_excused: Sequence[str]) -> bytes:
        return sign_permit(stub, sinks_excused, self.log.key, self._chain)

    def _verify_sink(self, sink: str, chain: bytes) -> bytes:
        identity = self._trust.verifier().verify(chain, datetime.now(UTC), role="sink", fabric=self.settings.fabric)
        if not isinstance(identity.subject, SinkName) or identity.subject.name != sink:
            raise e.WrongSink(f"the certificate shown for sink {sink} is {identity.subject.spiffe}")
        return identity.public_key

    # Health

    def unhealthy(self) -> list[str]:
        """Nothing that a restart would mend: a failing disk or a lost relay is waited out."""
        return []

    def unready(self) -> list[str]:
        """Why records can't be accepted now."""
        pressure = self.spool.pressure()
        reasons = [f"the spool's disk fails: {self.spool.failure}"] if self.spool.failure else []
        if pressure.full:
            reasons.append(f"the spool is full: {pressure.used} of {pressure.quota} bytes")
        return reasons

    def status(self) -> dict[str, Any]:
        """The page /status."""
        return {
            "origin": self.log.origin,
            "enrolled": self.enrolment.problem is None,
            "enrolment": self.enrolment.problem,
            **self.meters.status(self.shipper.core, self.spool),
        }


async def serve_sidecar(settings: Settings, stop: Stop) -> None:
    """Run one sidecar until told to stop, then drain and close the log."""
    limits = Limits(record_bytes=settings.record_bytes)
    quota = SpoolSettings(quota=settings.spool.quota)
    spool = await _once_there_is_room(lambda: Spool.open(settings.spool_dir, quota, limits=limits), stop)
    given = settings.sinks_given.encode()
    known = await spool.note(_SINKS)
    first = sinks.decode(sinks.read(settings.sinks, given) if known is None else known)
    if known is None:
        noted = sinks.encode(first).decode()
        await _once_there_is_room(lambda: spool.keep_note(_SINKS, noted), stop)
    sidecar = Sidecar(settings, spool, first)
    await _once_there_is_room(sidecar.open, stop)

    def set_sinks(policies: tuple[e.SinkPolicy, ...]) -> None:
        sidecar.shipper.set_sinks(policies)
        tasks.append(asyncio.create_task(spool.keep_note(_SINKS, sinks.encode(policies).decode())))

    servers, ingest, context = await _listen(settings, sidecar)
    write_ready(settings.ready_file, Ready(os.getpid(), ingest.port, servers[0].port))
    relays = relay_source(settings.relays, sidecar.shipper.set_relays)
    sink_file = sinks.SinkFile(settings.sinks, set_sinks, given=given)
    tasks: list[asyncio.Task[None]] = []
    sink_file.look()
    relays.look()
    started()
    loops = [
        asyncio.create_task(work)
        for work in (sidecar.shipper.run(), relays.run(), sink_file.run(), _until_ruined(spool))
    ]
    try:
        stopping = asyncio.create_task(stop.wait())
        ended, _ = await asyncio.wait([*loops, stopping], return_when=asyncio.FIRST_COMPLETED)
        if stopping not in ended:
            ended.pop().result()
        # The way in closes first, so that what is drained is all there is.
        await ingest.close(min(5.0, stop.remaining()))
        await sidecar.intake.close()
        try:
            async with asyncio.timeout(max(min(settings.drain, stop.remaining() - 3.0), 0.0)):
                await sidecar.shipper.settled()
            log.info("drained")
        except TimeoutError:
            log.warning("stopping before every sink has everything; the next start goes on")
    finally:
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, *tasks, return_exceptions=True)
        await sidecar.enrolment.close()
        await sidecar.shipper.close()
        for server in servers:
            await server.close()
        context.term()
        await spool.close()


async def _until_ruined(spool: Spool) -> None:
    """Whoever restarts this process has the next start salvage what can be read. Raises RuntimeError."""
    raise RuntimeError(f"the spool's database is damaged, and is salvaged at the next start: {await spool.ruined()}")


async def _once_there_is_room(work: Callable[[], Awaitable[T]], stop: Stop) -> T:
    """Do what needs the spool's disk; one that is full at the start is waited out like one that fills up later."""
    while True:
        try:
            return await work()
        except SpoolFull as full:
            log.warning("the spool's disk takes nothing yet", extra={"reason": full.reason})
            try:
                async with asyncio.timeout(full.retry_after):
                    await stop.wait()
            except TimeoutError:
                continue
            raise


async def _listen(settings: Settings, sidecar: Sidecar) -> tuple[list[WebServer], ZeromqIngest, zmq.Context[Any]]:
    """The ways in, on loopback with the pages; and, where asked, the pages alone for who isn't in the pod."""
    app = web.Application()
    http = HttpIngest(sidecar.intake, sidecar.limits, HttpBounds())
    http.add_to(app)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    ingest = ZeromqIngest(context, settings.zmq_port, sidecar.intake, sidecar.limits, ZeromqBounds())
    ways = IngestMeters(http, ingest)
    sidecar.meters.registry.register(ways)
    show = Pages(sidecar, sidecar.meters.registry, lambda: {**sidecar.status(), "ingest": ways.status()})
    show.add_to(app)
    servers = [await serve(app, settings.http_host, settings.http_port, WebBounds(), auto_decompress=False)]
    if settings.pages_host:
        servers.append(await show.serve(settings.pages_host, settings.pages_port))
    return servers, ingest, context


def main() -> None:
    """The command `meterfabric-sidecar`."""
    enter("sidecar", Settings, serve_sidecar, lambda settings: settings.drain + 15.0)


if __name__ == "__main__":
    main()
