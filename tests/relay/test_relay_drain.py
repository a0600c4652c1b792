"""A relay that stops: it stays for who is still there, and no longer than it may."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import zmq

from meterfabric_protocol import message as m
from meterfabric_relay.server import RelayServer
from tests.protocol.delivery.test_delivery_relay import Fabric


@pytest.fixture
def relay() -> Fabric:
    """With a producer that has nothing on its way."""
    made = Fabric()
    made.hello("billing-0")
    made.hello("producer-1")
    return made


@pytest.fixture
def socket() -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made = context.socket(zmq.ROUTER)
    yield made
    made.close(0)
    context.term()


async def test_it_stays_until_its_last_producer_has_left(relay: Fabric, socket: zmq.Socket[bytes]) -> None:
    server = RelayServer(relay.core, socket)
    draining = asyncio.create_task(server.drain(600.0))
    ended, _ = await asyncio.wait([draining], timeout=0.2)
    assert not ended
    assert relay.core.draining
    relay.send("producer-1", m.Bye())
    await asyncio.wait_for(draining, 60.0)
    server.close()


async def test_who_never_leaves_is_not_waited_for_longer_than_that(relay: Fabric, socket: zmq.Socket[bytes]) -> None:
    server = RelayServer(relay.core, socket)
    await server.drain(0.0)
    assert relay.core.producers == 1
    server.close()
