"""Clients that send without end and remember every record that was answered as accepted.

A post without an answer is repeated until it has one, as an application would; so at the end every record offered was
accepted, and each must be in every sink once, whatever was killed meanwhile.
"""

from __future__ import annotations

import http.client
import json
import struct
import threading
from collections import Counter
from typing import Protocol

import zmq

from tests.faults.process import PATIENCE

_PAUSE = 0.05
"""Seconds before a post that was refused or broke is repeated."""
_NO_HELLO = 428


def record(client: str, number: int, pad: int = 60) -> bytes:
    """One CloudEvent, as a line without its end."""
    event = {
        "specversion": "1.0",
        "id": f"{client}-{number}",
        "source": f"/load/{client}",
        "type": "fault.test",
        "data": {"n": number, "pad": "x" * pad},
    }
    return json.dumps(event, separators=(",", ":")).encode()


class Sender(Protocol):
    """One way to a sidecar."""

    def __call__(self, body: bytes) -> int:
        """Send NDJSON and return the answer as an HTTP status. Raises OSError or HTTPException where none came."""

    def close(self) -> None:
        """Hang up."""


class Load:
    """One client on a thread of its own. Use as a context: it stops, having every answer, at the end of the block."""

    def __init__(self, name: str, send: Sender, *, per_post: int, pace: float, pad: int = 60) -> None:
        """``pace``: pause in seconds between two posts."""
        self.name = name
        self.accepted: list[bytes] = []
        """In the order in which they were accepted. Appended to by the thread, never changed otherwise."""
        self.answers: Counter[int] = Counter()
        self.broken = 0
        """Posts that were left without an answer."""
        self._send = send
        self._per_post = per_post
        self._pace = pace
        self._pad = pad
        self._stop = threading.Event()
        self._give_up = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def count(self) -> int:
        """Records accepted so far."""
        return len(self.accepted)

    def stop(self) -> None:
        """Offer nothing new; returns once the last post has its answer."""
        self._stop.set()
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._give_up.set()
            self._thread.join()
            raise AssertionError(f"{self.name}: the last post was never accepted; answers so far {self.answers}")
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        number = 0
        try:
            while not self._stop.is_set():
                lines = [record(self.name, number + i, self._pad) for i in range(self._per_post)]
                if not self._until_accepted(b"\n".join(lines)):
                    return
                number += len(lines)
                self.accepted += lines
                self._stop.wait(self._pace)
        except BaseException as error:
            self._failure = error
        finally:
            self._send.close()

    def _until_accepted(self, body: bytes) -> bool:
        while not self._give_up.is_set():
            try:
                status = self._send(body)
            except (OSError, http.client.HTTPException):
                self.broken += 1
            else:
                self.answers[status] += 1
                if status == 204:
                    return True
                assert status in (429, 503), f"{self.name}: answered {status}"
            self._give_up.wait(_PAUSE)
        return False


class HttpSender:
    """Posts NDJSON bodies over one connection, made anew where it broke."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self, body: bytes) -> int:
        """The answer's status. Raises OSError or HTTPException where there was none."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=35)
        try:
            self._connection.request("POST", "/api/v1/events", body, {"Content-Type": "application/x-ndjson"})
            answer = self._connection.getresponse()
            answer.read()
        except BaseException:
            self.close()
            raise
        return answer.status

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class ZmqSender:
    """Sends NDJSON bodies as a DEALER, each on a connection of its own where the one before broke."""

    def __init__(self, port: int) -> None:
        self._endpoint = f"tcp://127.0.0.1:{port}"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._sent = self._credit = self._number = 0

    def __call__(self, body: bytes) -> int:
        """204, or the status of the refusal. Raises OSError where no answer came in time."""
        try:
            return self._exchange(body)
        except BaseException:
            self._drop()
            raise

    def close(self) -> None:
        """Hang up."""
        self._drop()
        self._context.term()

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None

    def _exchange(self, body: bytes) -> int:
        if self._socket is None:
            self._socket = self._context.socket(zmq.DEALER)
            self._socket.connect(self._endpoint)
            self._sent = self._credit = 0
            self._socket.send_multipart([b"HELLO", b"1"])
        while self._sent + len(body) > self._credit:
            if (status := self._read()) is not None:
                return status
        self._number += 1
        self._sent += len(body)
        self._socket.send_multipart([b"SEND", struct.pack(">Q", self._number), body])
        while (status := self._read()) is None:
            continue
        return status

    def _read(self) -> int | None:
        assert self._socket is not None
        if not self._socket.poll(1000):
            raise TimeoutError("no answer from the sidecar")
        kind, *rest = self._socket.recv_multipart()
        if kind == b"CREDIT":
            self._credit = struct.unpack(">Q", rest[0])[0]
            return None
        if kind == b"OK":
            return 204
        status: int = json.loads(rest[1])["status"]
        if status == _NO_HELLO:
            # ZeroMQ connected anew by itself, and the sidecar there was started since.
            raise ConnectionResetError("the sidecar knows nothing of this connection")
        return status


def http_load(name: str, port: int, *, per_post: int = 20, pace: float = 0.01, pad: int = 60) -> Load:
    """A client over HTTP."""
    return Load(name, HttpSender(port), per_post=per_post, pace=pace, pad=pad)


def zmq_load(name: str, port: int, *, per_post: int = 20, pace: float = 0.01) -> Load:
    """A client over ZeroMQ."""
    return Load(name, ZmqSender(port), per_post=per_post, pace=pace)


def post(port: int, lines: list[bytes]) -> int:
    """Send these records once; the answer's status, 0 where none came."""
    sender = HttpSender(port)
    try:
        return sender(b"\n".join(lines))
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        sender.close()
