"""Producers that send batches as fast as relays give credit: `python -m bench.scale.pump`, until standard input ends.

Relays look at nothing but sizes and names, so every batch is the same bytes. Each producer sends to the relay that
rendezvous hashing gives it, as sidecars do. A line of JSON tells now and then how many batches were answered.
"""

from __future__ import annotations

import argparse
import asyncio
import os

import zmq

from bench.scale.ground import SINK, Peer, read_peers
from bench.scale.peers import Sessions, parent_gone, run, tell
from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.rendezvous import best
from meterfabric_runtime.discovery import read_relays

_TELL_EVERY = 0.25
_HEADER_BYTES = 420
"""What a batch's header and the note in it take, nearly."""


class Producer:
    """One of them: the credit it has, what it sent of it, and what it waits for."""

    def __init__(self, sessions: Sessions, peer: Peer, relays: dict[str, str], payload: bytes, in_flight: int) -> None:
        self._frames = (peer.chain, bytes(_HEADER_BYTES), payload)
        self._cost = m.cost_of(self._frames)
        self._batch = m.Batch(peer.name, (m.Target(SINK, 0),))
        self._most = in_flight
        self._granted = self._sent = self._asked = self._unanswered = 0
        self.answered = 0
        name = best(peer.name, relays)
        if name is None:
            raise ValueError("there is no relay")
        self._link = sessions.dial(peer, "producer", name, relays[name], self._message, lambda _: None)

    def _message(self, _relay: str, message: m.Message, _frames: list[zmq.Frame]) -> None:
        match message:
            case m.Grant():
                self._granted = message.total
            case m.Answered():
                self.answered += 1
                self._unanswered -= 1
            case m.Sinks() if SINK in message.chains:
                pass
            case m.Refused() | m.Unroutable():
                raise RuntimeError(f"a relay said {message}")
            case _:
                return
        self._go_on()

    def _go_on(self) -> None:
        while self._unanswered < self._most and self._sent + self._cost <= self._granted:
            self._sent += self._cost
            self._unanswered += 1
            self._link.send(self._batch, self._frames)
        wanted = self._sent + self._most * self._cost
        if self._granted - self._sent < self._most * self._cost // 2 and wanted > self._asked:
            self._asked = wanted
            self._link.send(m.Want({SINK: m.Wish(self._cost, wanted)}))


async def work(options: argparse.Namespace) -> None:
    """Be so many producers."""
    sessions, relays, payload = Sessions(options.key, options.count), read_relays(options.relays), bytes(options.bytes)
    peers = read_peers(options.peers)[options.first : options.first + options.count]
    producers = [Producer(sessions, peer, relays, payload, options.in_flight) for peer in peers]
    over = asyncio.create_task(parent_gone())
    while not over.done():
        await asyncio.wait({over}, timeout=_TELL_EVERY)
        tell(answered=sum(producer.answered for producer in producers))
    os._exit(0)


if __name__ == "__main__":
    run(work, __doc__ or "")
