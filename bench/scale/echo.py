"""A sink's worker that holds nothing and answers at once: `python -m bench.scale.echo`, until standard input ends.

Relays pass answers on unread, so each is the same bytes, as long as a receipt. It stands for workers that a
relay never waits for.
"""

from __future__ import annotations

import argparse
import asyncio
import os

import zmq

from bench.scale.ground import read_peers
from bench.scale.peers import Sessions, parent_gone, run, tell
from meterfabric_protocol import message as m
from meterfabric_runtime.discovery import read_relays
from meterfabric_runtime.relay_link import RelayLink

_ANSWER = bytes(400), bytes(64)


async def work(options: argparse.Namespace) -> None:
    """Be the worker; one line tells each time another relay welcomed it."""
    relays, links = read_relays(options.relays), dict[str, RelayLink]()
    welcomes = set[str]()

    def message(relay: str, what: m.Message, _frames: list[zmq.Frame]) -> None:
        if isinstance(what, m.Deliver):
            links[relay].send(m.Reply(what.seq), _ANSWER)
        elif isinstance(what, m.Welcome):
            welcomes.add(relay)
            tell(up=len(welcomes))

    sessions, peer = Sessions(options.key, len(relays)), read_peers(options.peers)[0]
    for name, endpoint in relays.items():
        links[name] = sessions.dial(peer, "sink", name, endpoint, message, lambda _: None)
    await asyncio.create_task(parent_gone())
    os._exit(0)


if __name__ == "__main__":
    run(work, __doc__ or "")
