"""A client that sends as fast as it is let: the sidecar's ZeroMQ ingest, several messages in flight, held by credit.

Run as a process of its own (`python -m bench.load`), so that it takes no turn of anything measured. It prints one JSON
object when every message is durably accepted.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass

import zmq

from bench.events import Events

_HELLO, _SEND, _CREDIT, _OK = b"HELLO", b"SEND", b"CREDIT", b"OK"
_SILENCE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Sent:
    """What a run of the client saw."""

    records: int
    begun: float
    """CLOCK_MONOTONIC, seconds, which all processes of a machine share."""
    accepted: float
    """When the last answer came, on the same clock."""
    cpu: float
    """Seconds of processor time the client itself used while sending."""


class Client:
    """One DEALER connection to a sidecar's ingest, HELLO said and the first credit awaited.

    Raises RuntimeError when the sidecar refuses a message or says nothing for a minute.
    """

    def __init__(self, endpoint: str) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, _SILENCE_SECONDS * 1000)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.connect(endpoint)
        self._credit = 0
        self._sent_bytes = 0
        self._sent = 0
        self.answered = 0
        self._socket.send_multipart([_HELLO, b"1"])
        while not self._credit:
            self._read()

    def send(self, body: bytes) -> None:
        """Send one NDJSON body, after waiting for the credit it needs."""
        while self._sent_bytes + len(body) > self._credit:
            self._read()
        self._sent_bytes += len(body)
        self._sent += 1
        self._socket.send_multipart([_SEND, self._sent.to_bytes(8, "big"), body], copy=False)
        while self._socket.poll(0):
            self._read()

    def settle(self, in_flight: int = 0) -> None:
        """Wait until no more than `in_flight` messages are unanswered."""
        while self._sent - self.answered > in_flight:
            self._read()

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()

    def _read(self) -> None:
        try:
            kind, *rest = self._socket.recv_multipart()
        except zmq.Again:
            raise RuntimeError(f"the sidecar said nothing for {_SILENCE_SECONDS} s") from None
        if kind == _OK:
            self.answered += 1
        elif kind == _CREDIT:
            self._credit = int.from_bytes(rest[0], "big")
        else:
            raise RuntimeError(f"the sidecar refused: {[kind, *rest]!r}")


def send(endpoint: str, events: Events, messages: int, in_flight: int, first: int = 0) -> Sent:
    """Send messages `first` … `first + messages` with at most `in_flight` unanswered; returns when all are accepted."""
    with closing(Client(endpoint)) as client:
        begun, cpu = time.monotonic(), time.process_time()
        for number in range(first, first + messages):
            client.send(events.message(number))
            client.settle(in_flight - 1)
        client.settle()
        accepted, cpu = time.monotonic(), time.process_time() - cpu
    return Sent(messages * events.per_message, begun, accepted, cpu)


def paced(
    endpoint: str,
    events: Events,
    messages: int,
    rate: float,
    sent: Callable[[int, float], None],
    over: threading.Event | None = None,
) -> None:
    """Send at `rate` records a second, telling `sent(records so far, when)` after each message; no more once `over`."""
    with closing(Client(endpoint)) as client:
        begun = time.monotonic()
        for turn in range(messages):
            if over is not None and over.is_set():
                break
            due = begun + turn * events.per_message / rate
            time.sleep(max(0.0, due - time.monotonic()))
            body = events.message(turn)
            when = time.monotonic()
            client.send(body)
            sent((turn + 1) * events.per_message, when)
        client.settle()


def main() -> None:
    """Send, and print what was seen as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("endpoint", help="tcp://127.0.0.1:8281")
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--per-message", type=int, default=1000)
    parser.add_argument("--size", type=int, default=300, help="bytes of each event")
    parser.add_argument("--in-flight", type=int, default=16, help="messages sent and not yet answered")
    parser.add_argument("--first", type=int, default=0, help="the first message's number")
    parser.add_argument("--stream", type=int, default=1, help="what makes this client's ids its own")
    options = parser.parse_args()
    events = Events(options.per_message, options.size, options.stream)
    sent = send(options.endpoint, events, options.messages, options.in_flight, options.first)
    json.dump(asdict(sent), sys.stdout)
    print()


if __name__ == "__main__":
    main()
