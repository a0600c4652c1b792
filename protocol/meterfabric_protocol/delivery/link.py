"""A producer's view of one relay: the session's nonce, the sinks it reaches and their keys, and the credit it gave."""

from __future__ import annotations

from dataclasses import dataclass, field

from meterfabric_protocol import checkpoint, cosignature
from meterfabric_protocol.delivery.answer import Answer, BadAnswer, verify
from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.identity import cosigner
from meterfabric_protocol.message import Wish


@dataclass
class Credit:
    """Bytes since HELLO, cumulative: granted by the relay, used by us, wished for last.

    `waiting_at`: when a wish was made while none was open. `returned_at`: credit was given back then and the relay
    hasn't confirmed it: a grant that comes before its word on that was made before it knew, and is void.
    """

    granted: int = 0
    used: int = 0
    wish: Wish = field(default_factory=lambda: Wish(0, 0))
    wished_at: float = 0.0
    used_at: float = 0.0
    waiting_at: float = 0.0
    returned_at: float | None = None

    @property
    def left(self) -> int:
        """Bytes that may be sent now."""
        return self.granted - self.used

    def ask(self, wish: Wish, now: float) -> None:
        """A wish goes to the relay."""
        if self.wish.total <= self.granted:
            self.waiting_at = now
        self.wish, self.wished_at = wish, now

    def lies_idle(self, now: float, idle: float) -> bool:
        """Whether credit was neither used for `idle` seconds though there is some, nor came though it was asked for."""
        open_or_left = self.left > 0 or self.wish.total > self.granted
        return open_or_left and now - max(self.used_at, self.waiting_at) >= idle

    def give_back(self, now: float) -> Wish:
        """Use no more of what was granted until more is asked for; the wish that tells the relay."""
        if self.left > 0:
            # Only then can a grant cross it that must not be used.
            self.returned_at = now
        self.granted, self.used_at = self.used, now
        self.wish = Wish(0, self.used)
        return self.wish

    def grant(self, total: int, now: float, patience: float) -> None:
        """The relay grants `total`. Its word on what came back may be lost: it is waited for `patience` seconds."""
        if self.returned_at is not None and total > self.used and now - self.returned_at < patience:
            return
        self.returned_at = None
        self.granted = max(self.granted, total)


@dataclass
class Link:
    """One relay. It is `up` once it welcomed our HELLO."""

    relay: str
    nonce: bytes = b""
    up: bool = False
    draining: bool = False
    max_message: int = 0
    keys: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    """Public keys of the sinks that have a worker there, by sink, each proved by a chain."""
    credit: dict[str, Credit] = field(default_factory=dict)
    asked_at: float = 0.0
    """When the relay was last asked for its sinks."""

    def reset(self, nonce: bytes = b"") -> None:
        """A new session begins, or none stands."""
        self.nonce, self.up, self.draining = nonce, False, False
        self.keys, self.credit = {}, {}

    def for_sink(self, sink: str) -> Credit:
        """The credit for a sink."""
        return self.credit.setdefault(sink, Credit())

    def reaches(self, sink: str) -> bool:
        """Whether batches for the sink may be given to this relay."""
        return self.up and not self.draining and bool(self.keys.get(sink))

    def prove(self, answer: Answer, body: bytes, signature: bytes) -> None:
        """Hold an answer that came through here against this session and the keys of the sink it names.

        Raises:
            BadAnswer: it answers another session, or none of the sink's keys signed it.
        """
        if answer.nonce != self.nonce:
            raise BadAnswer("the answer is to another session")
        failure = BadAnswer(f"no certificate of sink {answer.sink} is known")
        for key in self.keys.get(answer.sink, ()):
            try:
                verify(body, signature, key)
            except BadAnswer as error:
                failure = error
            else:
                return
        raise failure

    def cosigned(self, answer: Answer, note: bytes, fabric: str) -> bool:
        """Whether a receipt's cosignature is the sink's own on the batch's checkpoint ``note``."""
        text = checkpoint.parse(note).text
        for key in self.keys[answer.sink]:
            try:
                cosignature.verify(text, answer.cosignature.encode(), cosigner(fabric, answer.sink), key)
            except ProtocolError:
                continue
            return True
        return False
