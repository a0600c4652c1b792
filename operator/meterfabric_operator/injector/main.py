"""Start-up, main loop and shutdown of the injector."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from meterfabric_operator.admission.injection_webhook import PATH
from meterfabric_operator.api.cluster import connect
from meterfabric_operator.api.kinds import KINDS
from meterfabric_operator.api.lease import UNREACHABLE
from meterfabric_operator.injector.answer import Injector, Unreadable
from meterfabric_operator.injector.certificate import Certificate
from meterfabric_operator.injector.settings import Settings
from meterfabric_runtime.entry import enter
from meterfabric_runtime.process import Stop, started
from meterfabric_runtime.web import WebBounds, add_probes, serve

log = logging.getLogger(__name__)

_GRACE = 15.0
_LEAVING = 5.0
"""Seconds in which API servers learn that this replica ends, and still call it."""
_BODY = 4 << 20
"""Bytes of a review: a pod may have 1.5 MiB, and is sent as JSON."""


class Server:
    """The page that API servers call, with its metrics."""

    def __init__(self, injector: Injector, certificate: Certificate, stop: Stop) -> None:
        self._injector = injector
        self._certificate = certificate
        self._stop = stop
        self.registry = CollectorRegistry()
        names = "meterfabric_injector"
        self._answers = Counter(f"{names}_answers", "Pods asked about.", ["outcome"], registry=self.registry)
        self._seconds = Histogram(f"{names}_answer_seconds", "How long an answer took.", registry=self.registry)
        recalled = Gauge(
            f"{names}_recalled", "Reads that failed and were answered from memory.", registry=self.registry
        )
        recalled.set_function(lambda: injector.read.recalled)
        expiry = Gauge(f"{names}_certificate_expiry_seconds", "When the certificate ends.", registry=self.registry)
        expiry.set_function(lambda: certificate.served.not_after.timestamp() if certificate.served else 0.0)

    def unhealthy(self) -> list[str]:
        """Nothing that a restart would mend."""
        return []

    def unready(self) -> list[str]:
        """Why API servers shouldn't call."""
        return ["stopping"] if self._stop.requested else self._certificate.problems()

    async def inject(self, request: web.Request) -> web.Response:
        """Answer a review. Where that can't be, the status says so, and the API server counts it and goes on."""
        begun = time.monotonic()
        response = await self._answer(await request.read())
        self._seconds.observe(time.monotonic() - begun)
        if self._stop.requested:
            response.force_close()
        return response

    async def _answer(self, body: bytes) -> web.Response:
        try:
            review = await self._injector.answer(body)
        except Unreadable as error:
            self._answers.labels("unreadable").inc()
            return web.json_response({"error": str(error)}, status=400)
        except UNREACHABLE as error:
            self._answers.labels("failed").inc()
            log.warning("a pod gets no sidecar: its namespace or fabric can't be read", extra={"reason": str(error)})
            return web.json_response({"error": str(error)}, status=503)
        self._answers.labels("injected" if "patch" in review["response"] else "left").inc()
        return web.json_response(review)


async def inject(settings: Settings, stop: Stop) -> None:
    """Answer API servers until told to stop, and a little longer."""
    cluster = await connect(KINDS)
    certificate = Certificate(settings, cluster)
    server = Server(Injector(settings, cluster), certificate, stop)
    pages = web.Application()
    add_probes(pages, server, server.registry)
    application = web.Application(client_max_size=_BODY)
    application.router.add_post(PATH, server.inject)
    opened = [await serve(pages, settings.http_host, settings.http_port, WebBounds(connections=32))]
    following = asyncio.create_task(certificate.follow())
    stopping = asyncio.create_task(stop.wait())
    try:
        begun = asyncio.create_task(certificate.ready.wait())
        await asyncio.wait([following, stopping, begun], return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        if certificate.ready.is_set():
            bounds = WebBounds(connections=256)
            opened.append(await serve(application, settings.host, settings.port, bounds, tls=certificate.context))
            started()
            await asyncio.wait([following, stopping], return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
        if len(opened) > 1:
            await asyncio.sleep(min(_LEAVING, stop.remaining()))
    finally:
        stopping.cancel()
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        for each in reversed(opened):
            await each.close()
        await cluster.close()


def main() -> None:
    """The command `meterfabric-operator-injector`, which the chart runs where the webhook injects."""
    enter("injector", Settings, inject, lambda _: _GRACE)


if __name__ == "__main__":
    main()
