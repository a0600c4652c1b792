"""The way to the sidecar over ZeroMQ: many batches in flight, held by the sidecar's credit.

A connection that gives trouble is thrown away with its socket, so that nothing of it reaches the next one.
"""

import json
import math
import random
import struct
import time
from collections.abc import Callable
from typing import Any

import zmq

from .transport import Accepted, Address, Again, Answer, Batch, Waker, judge

_VERSION = b"1"
# libzmq's own pauses while nobody listens, and ours after a session went wrong; each doubles up to the second.
_RECONNECT_MS = 50
_RECONNECT_MAX_MS = 2000
_REOPEN = 0.05
_REOPEN_MAX = 2.0
_NO_HELLO = 428


class ZeromqTransport:
    """See `transport.Transport`. A batch unanswered for `request` seconds gives the connection up."""

    def __init__(
        self,
        address: Address,
        request: float,
        batch_bytes: int,
        in_flight: int = 64,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.waker = Waker()
        self._endpoint = f"tcp://{address.host}:{address.port}"
        self._request = request
        self._batch_bytes = batch_bytes
        self._most = in_flight
        self._clock = clock
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._out: dict[bytes, tuple[Batch, float]] = {}  # by message id, with the time by which it is answered
        self._lost: list[Answer] = []
        self._last_id = 0
        self._credit = 0
        self._sent = 0
        self._greeted: float | None = None  # by when HELLO is answered
        self._reopen_pause = _REOPEN
        self._reopen_at = 0.0
        self.trouble = ""

    def allowance(self) -> int:
        if self._socket is None and self._clock() >= self._reopen_at:
            self._open()
        if len(self._out) >= self._most:
            return 0
        return min(self._credit - self._sent, self._batch_bytes)

    @property
    def in_flight(self) -> int:
        return len(self._out)

    def submit(self, batch: Batch) -> None:
        assert self._socket is not None
        self._last_id += 1
        id = self._last_id.to_bytes(8, "big")
        try:
            self._socket.send_multipart([b"SEND", id, batch.body], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            self._lost.append((batch, Again(f"not connected: {error}")))
            return
        self._sent += len(batch.body)
        self._out[id] = (batch, self._clock() + self._request)

    def wait(self, timeout: float | None) -> list[Answer]:
        if not self._lost:
            self._poll(timeout)
        answers = self._lost
        self._lost = []
        answers += self._read()
        self._give_up_when_due()
        answers += self._lost
        self._lost = []
        return answers

    def close(self) -> None:
        self._drop(self.trouble)
        self._context.term()
        self.waker.close()

    # The connection

    def _open(self) -> None:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        # Not IMMEDIATE: with it libzmq drops, at a connection's end, answers that were not read yet.
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
        socket.setsockopt(zmq.SNDHWM, 2 * self._most)
        socket.setsockopt(zmq.MAXMSGSIZE, 64 * 1024)  # answers are short
        self._monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        socket.connect(self._endpoint)
        socket.send_multipart([b"HELLO", _VERSION], zmq.NOBLOCK)
        self._socket = socket
        self._credit = self._sent = 0
        self._greeted = None
        self.trouble = self.trouble or f"not connected to {self._endpoint}"

    def _drop(self, why: str) -> None:
        if self._socket is None:
            return
        if self._monitor is not None:
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._monitor = None
        self._socket.close(0)
        self._socket = None
        self._greeted = None
        self._credit = self._sent = 0
        self._reopen_at = self._clock() + self._reopen_pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
        self._reopen_pause = min(2 * self._reopen_pause, _REOPEN_MAX)
        self.trouble = why
        self._lost += [(batch, Again(why)) for batch, _ in self._out.values()]
        self._out.clear()

    def _poll(self, timeout: float | None) -> None:
        due = [by for _, by in self._out.values()][:1]
        due += [] if self._greeted is None else [self._greeted]
        due += [self._reopen_at] if self._socket is None else []
        waits = [max(0.0, by - self._clock()) for by in due] + ([timeout] if timeout is not None else [])
        poller = zmq.Poller()
        poller.register(self.waker.fileno(), zmq.POLLIN)
        if self._socket is not None and self._monitor is not None:
            poller.register(self._socket, zmq.POLLIN)
            poller.register(self._monitor, zmq.POLLIN)
        poller.poll(math.ceil(min(waits) * 1000) if waits else None)
        self.waker.clear()

    def _read(self) -> list[Answer]:
        answers: list[Answer] = []
        self._receive(answers)
        if self._ended():
            # What came before the end still counts.
            self._receive(answers)
            self._drop("the connection ended")
        return answers

    def _receive(self, answers: list[Answer]) -> None:
        while self._socket is not None and int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self._heard(self._socket.recv_multipart(zmq.NOBLOCK), answers)

    def _ended(self) -> bool:
        """Read what the monitor has to tell; True when the connection is gone."""
        ended = False
        while self._monitor is not None and int(self._monitor.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            number, _ = struct.unpack("=Hi", self._monitor.recv_multipart(zmq.NOBLOCK)[0])
            if number == zmq.EVENT_DISCONNECTED:
                ended = True
            elif self._credit == 0:
                self._greeted = self._clock() + self._request
        return ended

    def _heard(self, frames: list[bytes], answers: list[Answer]) -> None:
        match frames:
            case [b"OK", id] if id in self._out:
                answers.append((self._out.pop(id)[0], Accepted()))
            case [b"CREDIT", amount] if len(amount) == 8:
                self._greeted = None
                self._reopen_pause = _REOPEN
                self.trouble = ""
                self._credit = struct.unpack(">Q", amount)[0]
            case [b"NO", id, text]:
                self._refused(id, _problem(text), answers)

    def _refused(self, id: bytes, problem: dict[str, Any], answers: list[Answer]) -> None:
        status = problem.get("status")
        wait = problem.get("retry_after")
        outcome = judge(
            status if isinstance(status, int) else 0, problem, float(wait) if isinstance(wait, int) else None
        )
        if id in self._out:
            answers.append((self._out.pop(id)[0], outcome))
        if id == bytes(8) or status == _NO_HELLO:
            # The session itself is refused, or unknown there.
            self._drop(f"{status} {problem.get('title', '')}")

    def _give_up_when_due(self) -> None:
        now = self._clock()
        if self._greeted is not None and now >= self._greeted:
            self._drop("HELLO was not answered in time")
        for _, by in self._out.values():
            if now >= by:
                self._drop("no answer in time")
            break


def _problem(text: bytes) -> dict[str, Any]:
    try:
        problem = json.loads(text)
    except ValueError:
        problem = None
    return problem if isinstance(problem, dict) else {}
