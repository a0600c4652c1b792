import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import zmq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol.hello import HelloBody, HelloError, sign_hello, verify_hello
from meterfabric_protocol.identity import ChainVerifier, TrustBundle, origin
from meterfabric_runtime.curve import CurveKeys, from_user_id, to_user_id
from meterfabric_runtime.gate import BUSY, REFUSED, Gate, GateBounds
from meterfabric_runtime.zap import ZapHandler
from meterfabric_runtime.zmq_loop import LoopSocket, user_id
from meterfabric_runtime.zmq_monitor import Change, Monitor, PeerEvent
from meterfabric_runtime.zmq_options import Bounds, CurveServer, open_socket, port_of
from tests.pki import FABRIC, NOW, Authority, raw

WAIT = 10.0
BOUNDS = Bounds(linger=0, handshake=10_000)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


class Relay:
    """A CURVE server behind a ZAP handler: keeps what came, and from whom."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], gate: Gate) -> None:
        self.keys = CurveKeys.generate()
        self.gate = gate
        self.came: list[tuple[str | None, list[bytes]]] = []
        self.events: list[PeerEvent] = []
        router = open_socket(context, zmq.ROUTER, BOUNDS, curve=self.keys.server())
        self.zap = ZapHandler(context, router, gate, on_event=self.events.append)
        router.bind("tcp://127.0.0.1:0")
        self.port = port_of(router)
        self.socket = LoopSocket(router, on_frames=self._frames)

    def _frames(self, frames: list[zmq.Frame]) -> None:
        self.came.append((user_id(frames[-1]), [frame.bytes for frame in frames[1:]]))

    def saw(self, change: Change) -> bool:
        return any(event.change is change for event in self.events)

    def close(self) -> None:
        self.zap.close()
        self.socket.close(0)


class Client:
    """A DEALER that says one thing as soon as it may."""

    def __init__(
        self,
        relay: Relay,
        keys: CurveKeys | None,
        *,
        server: bytes | None = None,
        says: tuple[bytes, ...] = (b"hi",),
        bounds: Bounds = BOUNDS,
    ) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        curve = keys.client(server or relay.keys.public) if keys else None
        dealer = open_socket(self.context, zmq.DEALER, bounds, curve=curve)
        self.events: list[PeerEvent] = []
        self.monitor = Monitor(dealer, self._event)
        self.socket = LoopSocket(dealer, on_message=lambda _: None)
        self.says = says
        dealer.connect(f"tcp://127.0.0.1:{relay.port}")

    def _event(self, event: PeerEvent) -> None:
        self.events.append(event)
        if event.change is Change.READY:
            self.socket.send(self.says)

    def refusals(self) -> list[int]:
        return [event.value for event in self.events if event.change is Change.REFUSED]

    def close(self) -> None:
        self.monitor.close()
        self.socket.close(0)
        self.context.term()


class World:
    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._close: list[Callable[[], None]] = []

    def relay(self, gate: Gate | None = None) -> Relay:
        relay = Relay(self.context, gate or Gate(GateBounds()))
        self._close.append(relay.close)
        return relay

    def client(
        self,
        relay: Relay,
        keys: CurveKeys | None = None,
        *,
        curve: bool = True,
        server: bytes | None = None,
        says: tuple[bytes, ...] = (b"hi",),
        bounds: Bounds = BOUNDS,
    ) -> Client:
        own = (keys or CurveKeys.generate()) if curve else None
        client = Client(relay, own, server=server, says=says, bounds=bounds)
        self._close.append(client.close)
        return client

    def close(self) -> None:
        for close in reversed(self._close):
            close()
        self.context.term()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    made.close()


async def test_a_message_carries_its_senders_curve_key_as_user_id(world: World) -> None:
    relay = world.relay()
    keys = [CurveKeys.generate() for _ in range(3)]
    for each in keys:
        world.client(relay, each)
    await until(lambda: len(relay.came) == 3)
    assert {who for who, _ in relay.came} == {to_user_id(each.public) for each in keys}
    assert all(said == [b"hi"] for _, said in relay.came)
    assert relay.gate.admitted == 3


async def test_a_client_with_the_wrong_server_key_gets_nowhere(world: World) -> None:
    relay = world.relay()
    world.client(relay, server=CurveKeys.generate().public)
    await until(lambda: relay.gate.refused["protocol"] > 0)
    assert relay.came == []
    assert relay.gate.admitted == 0


async def test_a_client_without_curve_is_refused(world: World) -> None:
    relay = world.relay()
    client = world.client(relay, curve=False)
    # Both ends see at once that they speak differently; which of them hangs up first is chance.
    await until(lambda: relay.gate.refused["protocol"] + relay.gate.refused["incomplete"] > 0)
    await until(lambda: any(event.change is Change.DISCONNECTED for event in client.events))
    assert relay.came == []


async def test_a_socket_that_speaks_null_lets_nobody_in(world: World) -> None:
    relay = world.relay()
    plain = open_socket(world.context, zmq.ROUTER, BOUNDS)
    plain.setsockopt_string(zmq.ZAP_DOMAIN, "meterfabric")
    plain.bind("tcp://127.0.0.1:0")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = open_socket(context, zmq.DEALER, BOUNDS)
    dealer.connect(f"tcp://127.0.0.1:{port_of(plain)}")
    await until(lambda: relay.gate.refused["mechanism"] > 0)
    dealer.close(0)
    context.term()
    plain.close(0)


async def test_a_socket_of_another_domain_lets_nobody_in(world: World) -> None:
    relay = world.relay()
    keys = CurveKeys.generate()
    other = open_socket(world.context, zmq.ROUTER, BOUNDS, curve=CurveServer(keys.server().secret_key, "other"))
    other.bind("tcp://127.0.0.1:0")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = open_socket(context, zmq.DEALER, BOUNDS, curve=CurveKeys.generate().client(keys.public))
    dealer.connect(f"tcp://127.0.0.1:{port_of(other)}")
    await until(lambda: relay.gate.refused["domain"] > 0)
    dealer.close(0)
    context.term()
    other.close(0)


async def test_the_connection_beyond_the_cap_is_refused_until_one_goes(world: World) -> None:
    relay = world.relay(Gate(GateBounds(connections=3)))
    standing = [world.client(relay) for _ in range(3)]
    await until(lambda: len(relay.came) == 3)
    late = world.client(relay)
    await until(lambda: late.refusals() == [BUSY])
    assert relay.gate.refused == {"capacity": 1}
    await until(lambda: relay.gate.open == 3)
    standing[0].monitor.close()
    standing[0].socket.close(0)
    await until(lambda: relay.gate.open == 2)
    world.client(relay)
    await until(lambda: len(relay.came) == 4)


async def test_a_crowd_at_once_does_not_pass_the_cap(world: World) -> None:
    relay = world.relay(Gate(GateBounds(connections=5)))
    clients = [world.client(relay) for _ in range(20)]
    await until(lambda: sum(len(client.refusals()) for client in clients) == 15)
    await until(lambda: len(relay.came) == 5)
    assert relay.gate.admitted == 5


async def test_silent_connections_are_hung_up_on_and_keep_nobody_out(world: World) -> None:
    relay = world.relay(Gate(GateBounds(connections=2, waiting=3)))
    silent = [socket.create_connection(("127.0.0.1", relay.port)) for _ in range(12)]
    try:
        await until(lambda: relay.gate.refused["flood"] >= 7 and relay.gate.open == 5)
        for one in silent[:3]:
            one.close()
        await until(lambda: relay.gate.open <= 2)
        world.client(relay)
        await until(lambda: len(relay.came) == 1)
    finally:
        for one in silent:
            one.close()


async def test_a_silent_connection_is_closed_when_its_time_is_up(world: World) -> None:
    router = open_socket(world.context, zmq.ROUTER, Bounds(handshake=50), curve=CurveKeys.generate().server())
    zap = ZapHandler(world.context, router, Gate(GateBounds()))
    router.bind("tcp://127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", port_of(router))):
        await until(lambda: zap.gate.refused["incomplete"] == 1 and zap.gate.open == 0)
    zap.close()
    router.close(0)


async def test_a_banned_key_is_refused_when_it_comes_again(world: World) -> None:
    relay = world.relay()
    keys = CurveKeys.generate()
    first = world.client(relay, keys)
    await until(lambda: len(relay.came) == 1)
    relay.zap.ban(to_user_id(keys.public), 60.0)
    again = world.client(relay, keys)
    await until(lambda: again.refusals() == [REFUSED])
    assert relay.gate.refused == {"banned": 1}
    assert first.refusals() == []


async def test_what_happens_to_connections_is_passed_on(world: World) -> None:
    relay = world.relay()
    client = world.client(relay)
    await until(lambda: relay.saw(Change.READY))
    client.monitor.close()
    client.socket.close(0)
    await until(lambda: relay.saw(Change.DISCONNECTED))


async def test_without_its_handler_nobody_gets_in(world: World) -> None:
    relay = world.relay()
    relay.zap.close()
    client = world.client(relay, bounds=Bounds(linger=0, handshake=100))
    await until(lambda: any(event.change is Change.FAILED_HANDSHAKE for event in client.events))
    assert relay.came == []


async def test_there_is_one_handler_per_context(world: World) -> None:
    relay = world.relay()
    with pytest.raises(zmq.ZMQError):
        ZapHandler(world.context, relay.socket.socket, relay.gate)


async def test_a_hello_replayed_from_another_curve_key_is_refused(world: World) -> None:
    relay = world.relay()
    root = Authority()
    key = Ed25519PrivateKey.generate()
    honest, thief = CurveKeys.generate(), CurveKeys.generate()
    body = HelloBody(
        version=1,
        role="producer",
        name=origin(FABRIC, "shop", "web-0", raw(key)),
        client_curve=honest.public,
        relay_curve=relay.keys.public,
        nonce=b"n" * 16,
        worker="",
        window=0,
        issued=int(NOW.timestamp()),
    )
    hello = (*sign_hello(body, key), root.chain(key))
    world.client(relay, honest, says=hello)
    await until(lambda: len(relay.came) == 1)
    world.client(relay, thief, says=hello)
    await until(lambda: len(relay.came) == 2)

    def judge(who: str | None, said: list[bytes]) -> str:
        assert who is not None
        encoded, signature, chain = said
        return verify_hello(
            encoded,
            signature,
            chain,
            client_curve=from_user_id(who),
            relay_curve=relay.keys.public,
            verifier=ChainVerifier(TrustBundle(root.pem)),
            at=NOW,
            fabric=FABRIC,
        ).identity.name

    assert judge(*relay.came[0]) == body.name
    with pytest.raises(HelloError, match="replayed"):
        judge(*relay.came[1])
