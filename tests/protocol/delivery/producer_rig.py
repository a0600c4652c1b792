"""A producer's core with everything around it played by the test: a spool of one log, relays, sinks that sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import batch as batches
from meterfabric_protocol import checkpoint, cosignature
from meterfabric_protocol import message as m
from meterfabric_protocol.batch import BatchHeader, encode_header
from meterfabric_protocol.delivery import effects as fx
from meterfabric_protocol.delivery.answer import Answer, Kind, sign
from meterfabric_protocol.delivery.producer import ProducerCore
from meterfabric_protocol.delivery.settings import ProducerSettings
from meterfabric_protocol.identity import cosigner, origin
from meterfabric_protocol.merkle import EMPTY_ROOT, CompactRange, leaf_hashes
from tests.pki import FABRIC, raw

KEY = Ed25519PrivateKey.generate()
SINK_KEY = Ed25519PrivateKey.generate()
LOG = origin(FABRIC, "shop", "web-0", raw(KEY))
NONCE = b"n" * 16
E = TypeVar("E")


def parcels(count: int, records: int = 2) -> list[fx.Parcel]:
    """So many batches of records of the log `LOG`."""
    frontier, found = CompactRange.empty(), []
    for number in range(count):
        leaves = [b'{"id":"%d-%d"}' % (number, record) for record in range(records)]
        header, frontier = batches.seal(LOG, KEY, frontier, leaf_hashes(leaves), "records", batches.join(leaves))
        found.append(
            fx.Parcel(
                header.first, header.size, encode_header(header), batches.join(leaves), header.note, frontier.root()
            )
        )
    return found


PARCELS = parcels(8)


def stubbed(parcel: fx.Parcel, *, damaged: bool = False) -> fx.Parcel:
    """What stays of a batch whose payload is gone."""
    header = encode_header(batches.decode_header(parcel.header).stub())
    return fx.Parcel(parcel.first, parcel.size, header, None, parcel.note, parcel.root, damaged)


class Rig:
    """The core and what it did last."""

    def __init__(
        self,
        *policies: fx.SinkPolicy,
        log: fx.LogFacts | None = None,
        relays: Sequence[str] = ("relay-0",),
        **settings: Any,
    ) -> None:
        self.now = 100.0
        self.effects: list[fx.Effect] = []
        self.core = ProducerCore(
            ProducerSettings(FABRIC, "web-0", secret=b"s", **settings),
            policies or (fx.SinkPolicy("billing"),),
            lambda sink, chain: raw(SINK_KEY),
            self._permit,
        )
        self.do(self.core.add_log(log or fx.LogFacts(LOG, 0, True, b"chain", b""), self.now))
        self.do(self.core.set_relays(relays, self.now))
        self.permits: list[tuple[int, list[str]]] = []

    def _permit(self, stub: BatchHeader, sinks: Sequence[str]) -> bytes:
        self.permits.append((stub.first, list(sinks)))
        return b"permit"

    def do(self, effects: list[fx.Effect]) -> list[fx.Effect]:
        self.effects = effects
        return effects

    def of(self, kind: type[E]) -> list[E]:
        """The effects of this kind among the last ones."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def sent(self, kind: type[E]) -> list[E]:
        """The messages of this kind among the last effects."""
        return [effect.message for effect in self.of(fx.Send) if isinstance(effect.message, kind)]

    def up(self, *sinks: str, relay: str = "relay-0", credit: int = 1_000_000) -> None:
        """The relay welcomes us, has workers of these sinks and grants this much for each."""
        self.core.hello_sent(relay, NONCE)
        self.say(m.Welcome(relay, 1_000_000), relay=relay)
        chains: dict[str, tuple[bytes, ...]] = dict.fromkeys(sinks or ("billing",), (b"chain",))
        told = self.say(m.Sinks(chains), relay=relay)
        for sink in chains if credit else ():
            self.say(m.Grant(sink, credit), relay=relay)
        self.effects = told

    def say(self, message: m.Message, *frames: bytes, relay: str = "relay-0") -> list[fx.Effect]:
        """The relay says this."""
        return self.do(self.core.received(relay, message, frames, self.now))

    def seal(self, *those: fx.Parcel) -> None:
        effects: list[fx.Effect] = []
        for parcel in those:
            effects += self.core.sealed(LOG, parcel, self.now)
        self.do(effects)

    def wait(self, seconds: float) -> list[fx.Effect]:
        self.now += seconds
        return self.do(self.core.tick(self.now))

    def epoch(self, sink: str = "billing") -> int:
        return self.core.logs[LOG].cursors[sink].epoch

    def answer(
        self,
        kind: Kind,
        size: int,
        *,
        about: int = 0,
        root: bytes | None = None,
        sink: str = "billing",
        key: Ed25519PrivateKey = SINK_KEY,
        relay: str = "relay-0",
        **changes: Any,
    ) -> list[fx.Effect]:
        """The sink's answer, as true as a sink that holds our own log up to ``size`` would give it."""
        by_size = {parcel.size: parcel for parcel in PARCELS}
        if root is None:
            root = by_size[size].root if size in by_size else EMPTY_ROOT
        line = ""
        if kind == "receipt" and about in by_size:
            text = checkpoint.parse(by_size[about].note).text
            line = cosignature.cosign(text, cosigner(FABRIC, sink), SINK_KEY, 1_770_000_000).decode()
        values: dict[str, Any] = {"nonce": NONCE, "epoch": self.epoch(sink), "cosignature": line}
        body = Answer(sink=sink, origin=LOG, kind=kind, about=about, size=size, root=root, **values | changes)
        return self.say(m.Answered(sink, LOG), *sign(body, key), relay=relay)

    def acked(self, sink: str = "billing") -> int:
        return self.core.logs[LOG].cursors[sink].acked

    def delivered(self, *those: fx.Parcel, sink: str = "billing") -> None:
        """Seal these and have the sink take them."""
        self.seal(*those)
        for parcel in those:
            self.answer("receipt", parcel.size, about=parcel.size, sink=sink)


def ready(*policies: fx.SinkPolicy, **settings: Any) -> Rig:
    """A rig whose sinks said that they hold nothing of an empty log's first batch."""
    rig = Rig(*policies, **settings)
    names = [policy.name for policy in policies] or ["billing"]
    rig.up(*names)
    rig.seal(PARCELS[0])
    effects: list[fx.Effect] = []
    for name in names:
        effects += rig.answer("position", 0, sink=name)
    rig.effects = effects
    return rig
