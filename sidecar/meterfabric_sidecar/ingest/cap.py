"""A cap on the connections of a ZeroMQ socket without keys.

libzmq accepts whoever comes; the one place to refuse is its authentication protocol (RFC 27/ZAP), which asks once per
handshake also where there is nothing to authenticate. A connection beyond the cap is answered 300, a temporary
failure: libzmq drops it without a word and the client, told nothing, tries again by itself. A connection that never
begins its handshake is dropped after the socket's HANDSHAKE_IVL; until then it counts.
"""

import zmq

from meterfabric_runtime.zmq_loop import LoopSocket
from meterfabric_runtime.zmq_monitor import Change, Monitor, PeerEvent

_ENDPOINT = "inproc://zeromq.zap.01"


class ConnectionCap:
    """Watches one socket, from before it is bound; close it before the socket.

    ZAP is asked at one address of a context, so there can be one cap in a context, and no other ZAP handler.
    """

    def __init__(self, socket: zmq.Socket[bytes], connections: int) -> None:
        self._connections = connections
        self._descriptors: set[int] = set()
        self.refused = 0
        self.ended = 0
        handler = socket.context.socket(zmq.REP)
        handler.setsockopt(zmq.LINGER, 0)
        handler.bind(_ENDPOINT)
        self._handler = LoopSocket(handler, on_message=self._judge)
        self._monitor = Monitor(socket, self._changed)
        socket.setsockopt_string(zmq.ZAP_DOMAIN, "ingest")

    @property
    def standing(self) -> int:
        """Connections that stand now."""
        return len(self._descriptors)

    def close(self) -> None:
        self._handler.close()
        self._monitor.close()

    def _judge(self, frames: list[bytes]) -> None:
        version, request = frames[:2]
        # This very connection's ACCEPTED was told before libzmq asked; it counts.
        self._monitor.catch_up()
        admitted = len(self._descriptors) <= self._connections
        self.refused += not admitted
        status = [b"200", b"OK"] if admitted else [b"300", b"too many connections"]
        self._handler.send([version, request, *status, b"", b""])

    def _changed(self, event: PeerEvent) -> None:
        if event.change is Change.ACCEPTED:
            self._descriptors.add(event.value)
        elif event.change is Change.DISCONNECTED:
            self._descriptors.discard(event.value)
            self.ended += 1
