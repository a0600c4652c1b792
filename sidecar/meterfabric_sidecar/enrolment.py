"""Enrolment: a certificate for the active log's key, asked for at start and again when a third of its time is gone.

Records are accepted without it; only delivery waits. An authority that is away or says no is asked again, ever slower.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509 import load_pem_x509_certificates

from meterfabric_runtime.authority import Authority, renewal_time
from meterfabric_runtime.csr import EnrolmentRefused, make_csr

log = logging.getLogger(__name__)

_PAUSES = (0.5, 60.0)
_PATIENCE = 30.0
"""Seconds an authority may take before it is asked anew."""


class Enrolment:
    """Keeps one key's certificate fresh. ``on_chain(origin, chain, not_after)`` tells each new one."""

    def __init__(
        self,
        authority: Authority,
        spiffe: str,
        on_chain: Callable[[str, bytes, datetime], None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._authority = authority
        self._spiffe = spiffe
        self._on_chain = on_chain
        self._now = now
        self._task: asyncio.Task[None] | None = None
        self.problem: str | None = "not enrolled yet"

    def begin(self, origin: str, key: Ed25519PrivateKey, chain: bytes | None) -> None:
        """Care for this key from now on, and no longer for the one before; ``chain`` is what it has already."""
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.get_running_loop().create_task(self._care(origin, key, chain))

    async def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _care(self, origin: str, key: Ed25519PrivateKey, chain: bytes | None) -> None:
        pause = _PAUSES[0]
        while True:
            if chain is not None and (wait := self._due(chain)) > 0:
                pause = _PAUSES[0]
                # In steps: the wall clock may be set meanwhile.
                await asyncio.sleep(min(wait, 60.0))
                continue
            try:
                async with asyncio.timeout(_PATIENCE):
                    chain = await self._authority.enrol(make_csr(key, self._spiffe))
            except (EnrolmentRefused, OSError, TimeoutError) as error:
                self.problem = str(error) or "the authority gave no answer"
                log.warning("no certificate", extra={"log": origin, "reason": self.problem})
            else:
                self.problem = None
                not_after = load_pem_x509_certificates(chain)[0].not_valid_after_utc
                log.info("enrolled", extra={"log": origin, "not_after": not_after.isoformat()})
                self._on_chain(origin, chain, not_after)
            # Also after a yes: where our clock and the authority's differ by a day, each new one is due at once.
            await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, _PAUSES[1])

    def _due(self, chain: bytes) -> float:
        """Seconds until the next one should be asked for."""
        leaf = load_pem_x509_certificates(chain)[0]
        if leaf.not_valid_after_utc > self._now():
            self.problem = None
        return (renewal_time(leaf.not_valid_before_utc, leaf.not_valid_after_utc) - self._now()).total_seconds()
