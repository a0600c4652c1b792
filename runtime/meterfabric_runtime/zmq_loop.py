"""A ZeroMQ socket driven by the event loop's own readiness notice.

`zmq.asyncio` makes a future per operation; this path carries every record of a fabric, so here a message is
one callback and a send is one call. The file descriptor that libzmq gives out is edge-triggered and says only
"look at EVENTS", and any call on the socket may swallow the edge (zmq_getsockopt(3), ZMQ_FD). So two rules hold
below: a turn ends only when EVENTS shows nothing to read or its share is used up, and every send is followed by
another look at EVENTS.
"""

import asyncio
import enum
import errno
from collections.abc import Callable, Sequence
from typing import Self

import zmq

Sendable = bytes | bytearray | memoryview | zmq.Frame
OnMessage = Callable[[list[bytes]], None]
OnFrames = Callable[[list[zmq.Frame]], None]

DEFAULT_TURN = 64


class Offer(enum.Enum):
    """What became of one message that was offered to a socket."""

    SENT = "sent"  # libzmq holds it; not yet on the wire
    FULL = "full"  # the peer's queue stands at its high-water mark, or no peer is connected
    GONE = "gone"  # ROUTER: no such peer; or this socket is closed


class LoopSocket:
    """One zmq socket on one event loop; owned by it, used from its thread only.

    Exactly one of `on_message` (frames as bytes) and `on_frames` (frames as `zmq.Frame`, not copied, metadata
    readable, may be sent on as they are) is given. A callback's exception goes to the loop's exception handler
    and the next message is read all the same. At most `turn` messages are read before the loop gets its turn.

    `on_writable`, for sockets other than ROUTER, is called once after an offer was FULL and the socket can take
    a message again. A ROUTER has no such moment per peer: bound what you send it by credit.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        *,
        on_message: OnMessage | None = None,
        on_frames: OnFrames | None = None,
        on_writable: Callable[[], None] | None = None,
        turn: int = DEFAULT_TURN,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if (on_message is None) == (on_frames is None):
            raise ValueError("give exactly one of on_message and on_frames")
        if on_writable is not None and socket.getsockopt(zmq.TYPE) == zmq.ROUTER:
            raise ValueError("on_writable says nothing on a ROUTER, which is writable while any peer is")
        if turn < 1:
            raise ValueError(f"turn must be at least 1, not {turn}")
        self.socket = socket
        self._on_message = on_message
        self._on_frames = on_frames
        self._on_writable = on_writable
        self._turn_length = turn
        self._loop = loop or asyncio.get_running_loop()
        self._fd = int(socket.getsockopt(zmq.FD))
        self._next: asyncio.Handle | None = None
        self._reading = False
        self._paused = False
        self._wants_write = False
        self._closed = False
        self._loop.add_reader(self._fd, self._turn)
        # What arrived before the reader was there has already spent its edge.
        self._look_again()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def offer(self, frames: Sequence[Sendable]) -> Offer:
        """Hand one multipart message to libzmq without waiting. Bytes are copied; a received Frame is shared."""
        if self._closed:
            return Offer.GONE
        try:
            self.socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            self._wants_write = self._on_writable is not None
            return Offer.FULL
        except zmq.ZMQError as error:
            if error.errno == errno.EHOSTUNREACH:
                return Offer.GONE
            raise
        finally:
            if not self._reading:
                self._look_again()
        return Offer.SENT

    def send(self, frames: Sequence[Sendable]) -> bool:
        """`offer`, as a yes or no."""
        return self.offer(frames) is Offer.SENT

    def read_now(self) -> None:
        """Read what stands in the queue, at most one turn's worth, without waiting for the loop."""
        if not self._reading:
            self._turn()

    def pause(self) -> None:
        """Read no more until `resume`; libzmq's receive queue and then TCP hold the senders back."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if not self._closed:
            self._look_again()

    def close(self, linger: int | None = None) -> None:
        """Close the socket; what was sent is flushed for `linger` ms (default: the socket's own LINGER)."""
        if self._closed:
            return
        self._closed = True
        if self._next is not None:
            self._next.cancel()
        self._loop.remove_reader(self._fd)
        self.socket.close(linger)

    def _look_again(self) -> None:
        if self._next is None:
            self._next = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._closed:
            return
        self._reading = True
        try:
            finished = self._read()
        except BaseException:
            # The edge is spent: without another turn the socket would stay silent with messages in it.
            if not self._closed:
                self._look_again()
            raise
        finally:
            self._reading = False
        if not finished and not self._closed:
            self._look_again()

    def _read(self) -> bool:
        """Read one turn's messages; True when nothing is left that a later edge would not announce."""
        socket = self.socket
        for _ in range(self._turn_length):
            events = int(socket.getsockopt(zmq.EVENTS))
            if self._wants_write and events & zmq.POLLOUT and self._on_writable is not None:
                self._wants_write = False
                self._on_writable()
                if self._closed:
                    return True
                # The callback sent, so this look at EVENTS is stale.
                continue
            if self._paused or not events & zmq.POLLIN:
                return True
            if self._on_message is not None:
                self._on_message(socket.recv_multipart(zmq.NOBLOCK))
            elif self._on_frames is not None:
                self._on_frames(socket.recv_multipart(zmq.NOBLOCK, copy=False))
            if self._closed:
                return True
        return False


def user_id(frame: zmq.Frame) -> str | None:
    """The User-Id that the ZAP handler gave this message's connection (RFC 27/ZAP), or None without one.

    Only frames received uncopied carry it.
    """
    try:
        value = frame.get("User-Id")
    except zmq.ZMQError:
        return None
    return value if isinstance(value, str) and value else None
