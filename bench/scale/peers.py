"""Many sessions with relays in one process, each with the very link and HELLO that sidecars and sink workers have."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import secrets
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop
import zmq

from bench.scale.ground import Peer
from meterfabric_protocol import message as m
from meterfabric_protocol.hello import VERSION, HelloBody, sign_hello
from meterfabric_protocol.identity import Role
from meterfabric_runtime.relay_link import HelloFrames, RelayLink
from meterfabric_runtime.zmq_options import Bounds

_MESSAGE = 9 << 20
_WINDOW = 16 << 20

OnMessage = Callable[[str, m.Message, list[zmq.Frame]], None]


class Sessions:
    """Dials relays for many peers over one ZeroMQ context."""

    def __init__(self, server_key: bytes, links: int) -> None:
        """``server_key``: the relays' raw public CURVE key; ``links``: how many there may be at once."""
        self._server_key = server_key
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        # Each link is its socket and its monitor's two ends; one that was closed lingers while its successor stands.
        self._context.set(zmq.MAX_SOCKETS, 6 * links + 64)
        self._jitter = random.SystemRandom()

    def dial(
        self, peer: Peer, role: Role, relay: str, endpoint: str, on_message: OnMessage, on_lost: Callable[[str], None]
    ) -> RelayLink:
        """Connect, say HELLO, and go on doing so."""
        key, chain = peer.key, peer.chain

        def hello(client_curve: bytes) -> HelloFrames:
            nonce, worker = secrets.token_bytes(16), "" if role == "producer" else "worker-0"
            window = 0 if role == "producer" else _WINDOW
            body = HelloBody(
                VERSION, role, peer.name, client_curve, self._server_key, nonce, worker, window, int(time.time())
            )
            return HelloFrames(nonce, (*sign_hello(body, key), chain))

        return RelayLink(
            self._context,
            relay,
            endpoint,
            self._server_key,
            hello,
            on_hello=lambda _name, _nonce: None,
            on_message=on_message,
            on_lost=on_lost,
            bounds=Bounds(message=_MESSAGE, queued=10_000, heartbeat=2_000, heartbeat_timeout=6_000),
            jitter=self._jitter,
        )


def tell(**values: float) -> None:
    """One line for whoever started this process."""
    print(json.dumps({"at": time.monotonic(), **values}), flush=True)


async def parent_gone() -> None:
    """Wait until standard input ends, as it does when whoever started this process is done with it, or dead."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(over.set)

    threading.Thread(target=wait, name="stdin", daemon=True).start()
    await over.wait()


def run(work: Callable[[argparse.Namespace], Coroutine[Any, Any, None]], doc: str) -> None:
    """Run a loading process: its arguments, all the file descriptors that it may have, and a loop."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key", type=bytes.fromhex, required=True, help="the relays' public CURVE key, hexadecimal")
    parser.add_argument("--peers", type=Path, required=True, help="the identities")
    parser.add_argument("--relays", type=Path, required=True, help="the list of relays")
    parser.add_argument("--first", type=int, default=0, help="the first identity to be")
    parser.add_argument("--count", type=int, default=1, help="how many to be")
    parser.add_argument("--bytes", type=int, default=300, help="of each batch's payload")
    parser.add_argument("--in-flight", type=int, default=32, help="batches of each producer that may be unanswered")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(options))
    # Thousands of sockets would be closed one by one; the kernel does it at once.
    sys.stdout.flush()
