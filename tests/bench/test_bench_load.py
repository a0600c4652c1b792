"""The load generator against a stand-in for a sidecar's ingest: it keeps to its credit and counts its answers."""

import threading
from collections.abc import Iterator

import pytest
import zmq

from bench.events import Events
from bench.load import paced, send


class Ingest:
    """Answers each message, granting credit for one more body at a time; notes what it saw."""

    def __init__(self, refuse: bool = False) -> None:
        self.bodies: list[bytes] = []
        self.over_credit = 0
        self._refuse = refuse
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, 10_000)
        self.endpoint = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        credit = received = 0
        while True:
            client, kind, *rest = self._socket.recv_multipart()
            if kind == b"STOP":
                return
            if kind == b"SEND":
                number, body = rest
                received += len(body)
                self.over_credit += received > credit
                self.bodies.append(body)
                answer = [b"NO", number, b"{}"] if self._refuse else [b"OK", number]
                self._socket.send_multipart([client, *answer])
            credit = received + 40_000
            self._socket.send_multipart([client, b"CREDIT", credit.to_bytes(8, "big")])

    def stop(self) -> None:
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        socket.connect(self.endpoint)
        socket.send(b"STOP")
        self._thread.join()
        socket.close()
        self._socket.close()


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    server = Ingest()
    yield server
    server.stop()


def test_every_message_arrives_once_in_order_within_the_credit_granted(ingest: Ingest) -> None:
    events = Events(100, 300, 1)
    sent = send(ingest.endpoint, events, messages=20, in_flight=4, first=5)
    assert sent.records == 2000
    assert ingest.bodies == [events.message(number) for number in range(5, 25)]
    assert ingest.over_credit == 0


def test_a_paced_run_tells_each_message_with_the_records_so_far(ingest: Ingest) -> None:
    told: list[tuple[int, float]] = []
    paced(ingest.endpoint, Events(10, 300, 1), 5, 100_000, lambda records, when: told.append((records, when)))
    assert [records for records, _ in told] == [10, 20, 30, 40, 50]
    assert [when for _, when in told] == sorted(when for _, when in told)


def test_a_refusal_ends_the_run_with_what_the_sidecar_said() -> None:
    server = Ingest(refuse=True)
    with pytest.raises(RuntimeError, match="refused"):
        send(server.endpoint, Events(1, 300, 1), messages=1, in_flight=1)
    server.stop()
