"""Opens many CURVE connections to one relay and holds them until its standard input ends.

python -m tests.faults.flood ENDPOINT SERVER_KEY_HEX COUNT
"""

from __future__ import annotations

import sys

import zmq

from meterfabric_runtime.curve import to_z85


def main() -> None:
    endpoint, key, count = sys.argv[1], to_z85(bytes.fromhex(sys.argv[2])), int(sys.argv[3])
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, count + 16)
    sockets = []
    for _ in range(count):
        socket = context.socket(zmq.DEALER)
        socket.curve_serverkey = key
        socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
        socket.connect(endpoint)
        sockets.append(socket)
    sys.stdin.read()
    for socket in sockets:
        socket.close(0)
    context.term()


if __name__ == "__main__":
    main()
