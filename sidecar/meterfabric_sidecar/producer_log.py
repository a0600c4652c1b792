"""The pod's log across keys and restarts: opening, superseding, closing.

Between these, `Intake` seals batches through the `Sealer` this hands out.
"""

from collections.abc import Callable
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import names, notice
from meterfabric_protocol.merkle import EMPTY_ROOT, CompactRange, leaf_hash

from .keys import Head, KeyFolder
from .opening import Begin, GoOn, decide
from .sealer import Sealed, Sealer
from .spool import Spool
from .spool.store import utc_now
from .spool.writer import Sealing

MakeOrigin = Callable[[bytes], str]
"""A log's origin for a raw public key of 32 bytes."""

_NOTHING: Final = CompactRange.empty()


def origin_maker(fabric: str, namespace: str, pod: str) -> MakeOrigin:
    """How this pod names its logs."""
    return lambda public_key: names.origin(fabric, namespace, pod, public_key)


class ProducerLog:
    """The log that grows now. `sealer` seals at its end, `key` signs for it and for the session."""

    def __init__(
        self, spool: Spool, keys: KeyFolder, make_origin: MakeOrigin, compression: Literal["none", "zstd"] = "none"
    ) -> None:
        self.spool = spool
        self._keys = keys
        self._make_origin = make_origin
        self._compression: Literal["none", "zstd"] = compression
        self._sealer: Sealer | None = None
        self._key: Ed25519PrivateKey | None = None

    @property
    def sealer(self) -> Sealer:
        """Seals at the end of the active log. Raises RuntimeError before `open`."""
        if self._sealer is None:
            raise RuntimeError("the log isn't open")
        return self._sealer

    @property
    def key(self) -> Ed25519PrivateKey:
        """The active log's key. Raises RuntimeError before `open`."""
        if self._key is None:
            raise RuntimeError("the log isn't open")
        return self._key

    @property
    def origin(self) -> str:
        """The active log's origin."""
        return self.sealer.origin

    async def open(self) -> Sealed | None:
        """Go on with the log of before, or begin one; then the batch with its first notice. Raises SpoolFull, OSError.

        May be called again where it raised.
        """
        held, head = self._keys.load(), self._keys.head()
        logs = await self.spool.logs()
        known = head is not None and head.size and head.origin in {log.origin for log in logs}
        root = await self.spool.root_at(head.origin, head.size) if head is not None and known else None
        match decide(held, head, logs, root):
            case GoOn(log, held):
                self._adopt(held.key, Sealer(log.id, log.origin, held.key, log.frontier, utc_now, self._compression))
                self._keys.write_head(Head(log.origin, log.size, log.frontier.root() if log.size else EMPTY_ROOT))
                return None
            case Begin() as begin:
                return await self.begin(begin)

    async def begin(self, begin: Begin) -> Sealed:
        """Throw the key away and begin a new log, durably. Raises SpoolFull, OSError."""
        # Nothing is kept of the new key until its log is in the spool, so that a crash in between leaves the old key's
        # rules in force: an unused key has no head to be behind.
        key = self._keys.make()
        public_key = key.public_key().public_bytes_raw()
        origin = self._make_origin(public_key)
        leaf = notice.encode(begin.notice(origin))
        sealed: list[tuple[Sealer, Sealed]] = []

        def first(log: int) -> Sealing:
            sealer = Sealer(log, origin, key, _NOTHING, utc_now, self._compression)
            sealed.append((sealer, sealer.seal("notices", [leaf], [leaf_hash(leaf)], now)))
            return sealed[-1][1].row

        now = self.spool.clock.now()
        self._keys.write_head(Head(origin, 0, EMPTY_ROOT))
        await self.spool.open_log(origin, public_key, EMPTY_ROOT, first)
        sealer, opening = sealed[-1]
        self._adopt(key, sealer)
        self.write_head(opening)
        return opening

    def _adopt(self, key: Ed25519PrivateKey, sealer: Sealer) -> None:
        self._key, self._sealer = key, sealer

    def write_head(self, sealed: Sealed) -> None:
        """Note beside the key that it signed this batch; from any thread. Raises OSError."""
        self._keys.write_head(Head(sealed.batch.origin, sealed.after.size, sealed.root))
