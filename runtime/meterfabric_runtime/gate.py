"""Who may connect to a ZeroMQ socket, decided connection by connection; no socket is touched here.

CURVE proves that a peer holds its curve key; which key that is matters only once HELLO ties it to a certificate. So the
gate keeps numbers in bounds (connections, handshakes per address), remembers who was banned, and gives every session
its name: the curve key.
"""

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Container
from dataclasses import dataclass
from typing import Final, Literal

ZAP_VERSION: Final = b"1.0"

Reason = Literal[
    "malformed",  # not a request as RFC 27 has it
    "domain",  # asked for a socket that isn't ours
    "mechanism",  # something other than CURVE
    "banned",
    "not-allowed",  # not on the list, where there is one
    "rate",  # too many handshakes from this address
    "capacity",  # as many connections as there may be
    "flood",  # hung up at once: too many connections that have not shown a key yet
    "protocol",  # a broken handshake: wrong server key, NULL mechanism, forged
    "incomplete",  # gone or too slow before the handshake was done
]

# By the status a client learns whether to come back: libzmq makes it the value of HANDSHAKE_FAILED_AUTH and, on either,
# ends the connection at once and for good. On 300 it would keep it open, silent, until the handshake's time is up.
REFUSED: Final = 400
BUSY: Final = 500
_STATUS: Final[dict[Reason, int]] = {"rate": BUSY, "capacity": BUSY}


@dataclass(frozen=True, slots=True)
class GateBounds:
    """Limits of one listening socket."""

    connections: int = 10_000  # that have done their handshake
    waiting: int = 1_000  # more TCP connections than that, for those that have not
    handshake_seconds: float = 10.0  # the socket's ZMQ_HANDSHAKE_IVL: whoever is older has done it
    rate: float = 500.0  # handshakes per second and address, in the long run
    burst: float = 10_000.0  # and at once
    remembered: int = 4_096  # addresses, and bans

    def __post_init__(self) -> None:
        for name, least in (("connections", 1), ("waiting", 1), ("rate", 0), ("burst", 1), ("remembered", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one ZAP request: 200 with the session's name, or another status with the reason."""

    status: int
    text: str
    user_id: str = ""

    def reply(self, request_id: bytes) -> list[bytes]:
        """The reply's frames (RFC 27): version, request id, status, text, user id, metadata."""
        return [ZAP_VERSION, request_id, b"%d" % self.status, self.text.encode(), self.user_id.encode(), b""]


class Gate:
    """Judges handshakes and counts connections; hand in a monotonic time in seconds. One thread's.

    Standing connections can't be told from others by what libzmq reports, as it names the file descriptor only when one
    opens and closes. So those older than a handshake may take count as standing, and of the younger ones as many as
    were let in meanwhile: never fewer than there are, and no flood of silent connections takes anybody's place.
    """

    def __init__(
        self, bounds: GateBounds, *, domain: str = "meterfabric", allowed: Container[bytes] | None = None
    ) -> None:
        self.bounds = bounds
        self.allowed = allowed
        """Raw curve keys, 32 bytes, of those who may come in; None: everybody."""
        self.admitted = 0
        self.ended = 0
        self.refused: Counter[Reason] = Counter()
        self._domain = domain.encode()
        self._old: set[int] = set()
        self._young: OrderedDict[int, float] = OrderedDict()
        self._let_in: deque[float] = deque()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._bans: OrderedDict[str, float] = OrderedDict()

    @property
    def open(self) -> int:
        """TCP connections, whatever they have shown so far."""
        return len(self._old) + len(self._young)

    def standing(self, now: float) -> int:
        """At most so many connections have done their handshake."""
        self._age(now)
        return len(self._old) + min(len(self._young), len(self._let_in))

    def opened(self, connection: int, now: float) -> bool:
        """A connection came; False: one too many, hang up."""
        self._old.discard(connection)
        self._young[connection] = now
        self._young.move_to_end(connection)
        if self.open <= self.bounds.connections + self.bounds.waiting:
            return True
        self.refuse("flood")
        return False

    def closed(self, connection: int) -> None:
        """A connection went."""
        self.ended += 1
        self._old.discard(connection)
        self._young.pop(connection, None)
        while len(self._let_in) > len(self._young):
            self._let_in.popleft()

    def refuse(self, reason: Reason) -> None:
        """Count a refusal that was decided elsewhere."""
        self.refused[reason] += 1

    def ban(self, peer: str, seconds: float, now: float) -> None:
        """Let no more in of `peer`, a User-Id or an address, for so long. What stands is for the caller to ignore."""
        self._bans[peer] = now + seconds
        self._bans.move_to_end(peer)
        if len(self._bans) > self.bounds.remembered:
            self._bans.popitem(last=False)

    def judge(self, request: list[bytes], now: float) -> Verdict:
        """Answer a ZAP request: version, request id, domain, address, routing id, mechanism, credentials (RFC 27)."""
        if len(request) < 6 or request[0] != ZAP_VERSION:
            return self._no("malformed", "not a request of ZAP 1.0")
        _, _, domain, peer, _, mechanism, *credentials = request
        address = peer.decode("ascii", "replace")
        if domain != self._domain:
            return self._no("domain", "no such domain")
        if mechanism != b"CURVE":
            return self._no("mechanism", "CURVE only")
        if len(credentials) != 1 or len(credentials[0]) != 32:
            return self._no("malformed", "not a CURVE key")
        user_id = credentials[0].hex()
        if self._is_banned(user_id, now) or self._is_banned(address, now):
            return self._no("banned", "banned for now")
        if self.allowed is not None and credentials[0] not in self.allowed:
            return self._no("not-allowed", "not on the list")
        if not self._draw(address, now):
            return self._no("rate", "too many handshakes, come back later")
        self._age(now)
        # Whoever asks is among the young and not let in yet.
        if len(self._old) + min(len(self._young) - 1, len(self._let_in)) >= self.bounds.connections:
            return self._no("capacity", "full, go elsewhere")
        self.admitted += 1
        self._let_in.append(now)
        return Verdict(200, "OK", user_id)

    def _no(self, reason: Reason, text: str) -> Verdict:
        self.refuse(reason)
        return Verdict(_STATUS.get(reason, REFUSED), text)

    def _age(self, now: float) -> None:
        limit = now - self.bounds.handshake_seconds
        while self._young:
            connection, since = next(iter(self._young.items()))
            if since > limit:
                break
            del self._young[connection]
            self._old.add(connection)
        while self._let_in and self._let_in[0] <= limit:
            self._let_in.popleft()

    def _is_banned(self, peer: str, now: float) -> bool:
        until = self._bans.get(peer, -math.inf)
        if now < until:
            return True
        self._bans.pop(peer, None)
        return False

    def _draw(self, address: str, now: float) -> bool:
        """Take a token from the address's bucket, if there is one left."""
        tokens, since = self._buckets.pop(address, (self.bounds.burst, now))
        tokens = min(self.bounds.burst, tokens + (now - since) * self.bounds.rate)
        enough = tokens >= 1
        self._buckets[address] = (tokens - enough, now)
        if len(self._buckets) > self.bounds.remembered:
            self._buckets.popitem(last=False)
        return enough
