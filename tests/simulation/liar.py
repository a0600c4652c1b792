"""A relay that may lie. What it tells to one side or the other is altered, replayed, forged, withheld or made up.

It has no key but its own, so that nothing it makes up is signed by an end; it has seen everything that passed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from msgspec import structs

from meterfabric_protocol import message as m
from meterfabric_protocol.batch import decode_header, encode_header
from meterfabric_protocol.delivery import answer as answers
from meterfabric_protocol.merkle import EMPTY_ROOT

from . import pki
from .relay import Relay

if TYPE_CHECKING:
    from .world import World

LIES: Final = (
    "replay-answers",
    "forge-answers",
    "swap-answers",
    "withhold-answers",
    "alter-payloads",
    "alter-headers",
    "replay-batches",
    "stubs",
    "wrong-nonce",
    "wrong-epoch",
    "wrong-chain",
    "withhold-credit",
    "boundless-credit",
    "false-sinks",
    "no-sinks",
    "unroutable",
    "old-heads",
)


class Liar(Relay):
    """A relay that lies in the ways of `lies`, each now and then; an honest one where that is empty."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.lies: frozenset[str] = frozenset()
        self.often = 0.3
        self._random = world.kernel.stream("liar", name)
        self._answers: deque[tuple[m.Answered, m.Frames]] = deque(maxlen=64)
        self._batches: deque[tuple[m.Message, m.Frames]] = deque(maxlen=64)
        self._heads: deque[m.Frames] = deque(maxlen=16)

    def send(self, user: str, message: m.Message, frames: m.Frames) -> None:
        """To a client, truly or not."""
        if isinstance(message, m.Answered):
            self._answers.append((message, frames))
        elif isinstance(message, m.Deliver):
            self._batches.append((message, frames))
        elif isinstance(message, m.Listen):
            self._heads.append(frames)
        if not self.lies:
            super().send(user, message, frames)
            return
        for told, with_frames in self._twist(message, frames):
            super().send(user, told, with_frames)

    def _does(self, lie: str) -> bool:
        return lie in self.lies and self._random.random() < self.often

    def _twist(self, message: m.Message, frames: m.Frames) -> list[tuple[m.Message, m.Frames]]:
        match message:
            case m.Answered():
                return self._twist_answer(message, frames)
            case m.Deliver():
                return self._twist_batch(message, frames)
            case m.Listen():
                if self._does("old-heads") and self._heads:
                    return [(message, self._random.choice(self._heads))]
                if self._does("wrong-epoch"):
                    return [(structs.replace(message, epoch=message.epoch + self._random.randint(-1, 2)), frames)]
            case m.Grant():
                if self._does("withhold-credit"):
                    return []
                if self._does("boundless-credit"):
                    return [(structs.replace(message, total=message.total + 1_000_000), frames)]
            case m.Sinks():
                return [(self._twist_sinks(message), frames)]
        return [(message, frames)]

    def _twist_answer(self, message: m.Answered, frames: m.Frames) -> list[tuple[m.Message, m.Frames]]:
        random = self._random
        if self._does("withhold-answers"):
            return []
        if self._does("unroutable"):
            answer = answers.read(bytes(frames[0]))
            return [(m.Unroutable(answer.origin, answer.sink, answer.epoch), ())]
        if self._does("replay-answers"):
            alike = [old for old in self._answers if (old[0].sink, old[0].origin) == (message.sink, message.origin)]
            return [*alike[-8:], (message, frames), random.choice(self._answers)]
        if self._does("swap-answers"):
            return [(message, random.choice(self._answers)[1])]
        if self._does("forge-answers"):
            return [(message, self._forge(bytes(frames[0]), bytes(frames[1])))]
        return [(message, frames)]

    def _forge(self, body: bytes, signature: bytes) -> tuple[bytes, bytes]:
        answer = answers.read(body)
        random = self._random
        about = answer.about or answer.size + random.randint(0, 8)
        made = structs.replace(
            answer,
            kind=random.choice(("receipt", "passed", "position", "conflict", "refused")),
            about=about,
            size=max(0, answer.size + random.randint(-8, 8)),
            root=random.choice((answer.root, EMPTY_ROOT, random.randbytes(32))),
        )
        forged, own = answers.sign(made, pki.key(f"liar {self.name}"))
        return forged, random.choice((own, signature, bytes(64)))

    def _twist_batch(self, message: m.Deliver, frames: m.Frames) -> list[tuple[m.Message, m.Frames]]:
        random = self._random
        chain, header, *payload = (bytes(frame) for frame in frames)
        if self._does("alter-payloads") and payload:
            return [(message, (chain, header, self._flip(payload[0])))]
        if self._does("alter-headers"):
            return [(message, (chain, self._flip(header), *payload))]
        if self._does("stubs") and payload:
            permits = [old[2] for _, old in self._batches if len(old) > 2]
            stub = encode_header(decode_header(header).stub())
            return [(message, (chain, stub, random.choice(permits)) if permits else (chain, stub))]
        if self._does("replay-batches"):
            other, old = random.choice(self._batches)
            if isinstance(other, m.Deliver):
                return [(structs.replace(other, seq=message.seq), old)]
        if self._does("wrong-nonce"):
            return [(structs.replace(message, nonce=random.randbytes(16)), frames)]
        if self._does("wrong-epoch"):
            return [(structs.replace(message, epoch=message.epoch + random.randint(-1, 2)), frames)]
        if self._does("wrong-chain"):
            others = [old[0] for _, old in self._batches]
            return [(message, (random.choice(others), header, *payload))]
        return [(message, frames)]

    def _twist_sinks(self, message: m.Sinks) -> m.Sinks:
        if self._does("no-sinks"):
            return m.Sinks({})
        if self._does("false-sinks"):
            sinks = list(message.chains)
            chains: dict[str, tuple[bytes, ...]] = {sink: (pki.sink_chain(sink, "false root"),) for sink in sinks}
            if len(sinks) > 1 and self._random.random() < 0.5:
                chains = dict(zip(sinks, (message.chains[sink] for sink in reversed(sinks)), strict=True))
            return m.Sinks(chains)
        return message

    def _flip(self, data: bytes) -> bytes:
        at = self._random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << self._random.randrange(8))]) + data[at + 1 :]
