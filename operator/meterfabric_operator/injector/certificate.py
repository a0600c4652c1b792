"""The certificate that API servers are shown: followed in its Secret, changed without a restart."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from meterfabric_operator.api.cluster import Cluster
from meterfabric_operator.api.lease import UNREACHABLE
from meterfabric_operator.injector.settings import Settings
from meterfabric_operator.keys.identity import IdentityError, data_of
from meterfabric_operator.keys.webhook_certificate import SERVING, Pair, overlap, read
from meterfabric_operator.objects import Key

log = logging.getLogger(__name__)

_LOOK_EVERY = 10.0
_FIRST = 1.0
_OUT_OF_TOUCH = 60.0


class Certificate:
    """`context` serves the newest; `ready` is set once there was one."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._key = Key("Secret", settings.namespace, settings.secret)
        self._every = min(_LOOK_EVERY, overlap(timedelta(seconds=settings.lifetime)).total_seconds() / 8)
        self._now = now
        self._clock = clock
        self._seen = clock()
        self.served: Pair | None = None
        self.ready = asyncio.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2

    async def follow(self) -> None:
        """Look for ever; cancel to end."""
        while True:
            await self.look()
            # Nobody is answered before the first.
            await asyncio.sleep(self._every if self.served is not None else min(_FIRST, self._every))

    async def look(self) -> None:
        """Look once, and serve what is new."""
        try:
            secret = await self._cluster.get(self._key)
        except UNREACHABLE as error:
            log.warning("the certificate's Secret can't be read", extra={"reason": str(error)})
            return
        self._seen = self._clock()
        try:
            found = read(data_of(secret).get(SERVING, b""))
        except IdentityError:
            found = None
        if found is None or found == self.served:
            return
        _load(self.context, found)
        self.served = found
        self.ready.set()
        log.info("another certificate is served", extra={"until": found.not_after.isoformat()})

    def problems(self) -> list[str]:
        """Why API servers can't be answered."""
        if self.served is None:
            return [f"{self._key} holds no certificate yet: the operator makes it"]
        if self._now() >= self.served.not_after:
            return [f"the certificate ran out at {self.served.not_after.isoformat()}: the operator makes another"]
        if self._clock() - self._seen > _OUT_OF_TOUCH:
            return [f"{self._key} couldn't be read for {_OUT_OF_TOUCH:.0f} s: the API server isn't reached"]
        return []


def _load(context: ssl.SSLContext, pair: Pair) -> None:
    """Handshakes that begin from now on show it. OpenSSL reads files only; this one is in memory."""
    file = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(file, pair.written)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
