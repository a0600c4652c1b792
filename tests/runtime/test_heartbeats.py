"""Who finds out that a peer is gone without a word: each side of a connection, by the heartbeats of one."""

from __future__ import annotations

import random
import signal
import subprocess
import sys

import zmq

from meterfabric_runtime.zmq_options import Bounds, open_socket, port_of

_PATIENCE = 30_000
"""Half of the listener's own interval."""
_PEER = """
import sys
import zmq
from meterfabric_runtime.zmq_options import Bounds, open_socket
context = zmq.Context()
socket = open_socket(context, zmq.DEALER, Bounds(heartbeat=100, heartbeat_timeout=3_000))
socket.connect(sys.argv[1])
socket.send(b"here")
sys.stdin.read()
"""


def test_a_listener_whose_own_heartbeats_are_rare_drops_a_frozen_peer_in_the_time_that_the_peer_gave_it() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    listener = open_socket(context, zmq.ROUTER, Bounds(heartbeat=60_000), jitter=random.Random(1))
    events = listener.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    listener.bind("tcp://127.0.0.1:0")
    address = f"tcp://127.0.0.1:{port_of(listener)}"
    peer = subprocess.Popen([sys.executable, "-c", _PEER, address], stdin=subprocess.PIPE)
    try:
        assert listener.poll(_PATIENCE)
        assert listener.recv_multipart()[1] == b"here"
        # It stays while it lives. It gives its word with its first heartbeat: one that freezes before is only found out
        # by the listener's own, which are therefore rare and not absent.
        assert not events.poll(1_500)
        peer.send_signal(signal.SIGSTOP)
        assert events.poll(_PATIENCE)
    finally:
        peer.kill()
        peer.wait()
        if peer.stdin is not None:
            peer.stdin.close()
        listener.disable_monitor()
        events.close(0)
        listener.close(0)
        context.term()
