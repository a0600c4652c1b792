"""What happens to a socket's connections, as callbacks: libzmq reconnects by itself and says so only here."""

import asyncio
import contextlib
import enum
import struct
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from .zmq_loop import LoopSocket


class Change(enum.Enum):
    """A turn in the life of a connection (zmq_socket_monitor(3))."""

    CONNECTED = zmq.EVENT_CONNECTED  # TCP stands; no handshake yet
    ACCEPTED = zmq.EVENT_ACCEPTED  # the same, on the side that listens
    READY = zmq.EVENT_HANDSHAKE_SUCCEEDED  # messages flow from here on
    REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH  # ZAP said no; value is its status code
    BROKEN_HANDSHAKE = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL  # wrong key or wrong protocol; value is libzmq's code
    FAILED_HANDSHAKE = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL  # closed or too slow; value is errno
    DISCONNECTED = zmq.EVENT_DISCONNECTED
    RETRYING = zmq.EVENT_CONNECT_RETRIED  # value is the pause in ms
    ACCEPT_FAILED = zmq.EVENT_ACCEPT_FAILED  # value is errno, such as EMFILE


_EVENTS = {int(change.value): change for change in Change}
_MASK = sum(_EVENTS)


@dataclass(frozen=True)
class PeerEvent:
    """One change of one connection. `value` means what `Change` says for its kind, else the file descriptor."""

    change: Change
    endpoint: str
    value: int


class Monitor:
    """Watches one socket until closed; close it before the socket that it watches.

    Events come on the loop's thread a little after the fact, unordered against the socket's own messages.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        on_event: Callable[[PeerEvent], None],
        *,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._watched = socket
        self._on_event = on_event
        pair = socket.get_monitor_socket(_MASK)
        pair.setsockopt(zmq.LINGER, 0)
        self._pair = LoopSocket(pair, on_message=self._receive, loop=loop)

    def catch_up(self) -> None:
        """Deliver now what has happened already."""
        self._pair.read_now()

    def close(self) -> None:
        if self._pair.closed:
            return
        if not self._watched.closed:
            # libzmq may already have ended it with the connection it watched.
            with contextlib.suppress(zmq.ZMQError):
                self._watched.disable_monitor()
        self._pair.close(0)

    def _receive(self, frames: list[bytes]) -> None:
        number, value = struct.unpack("=hi", frames[0])
        change = _EVENTS.get(number & 0xFFFF)
        if change is not None:
            self._on_event(PeerEvent(change, frames[1].decode("utf-8", "replace"), value))
