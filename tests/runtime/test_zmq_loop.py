import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop
import zmq

from meterfabric_runtime.zmq_loop import LoopSocket, Offer, user_id
from meterfabric_runtime.zmq_monitor import Change, Monitor, PeerEvent
from meterfabric_runtime.zmq_options import Bounds, CurveClient, CurveServer, open_socket, port_of

WAIT = 10.0
DEFAULTS = Bounds()


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(linger=0)


async def take(queue: asyncio.Queue[Any], count: int = 1) -> list[Any]:
    async with asyncio.timeout(WAIT):
        return [await queue.get() for _ in range(count)]


def router_and_dealer(
    context: zmq.Context[zmq.Socket[bytes]], bounds: Bounds = DEFAULTS
) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    router = open_socket(context, zmq.ROUTER, bounds)
    router.bind("tcp://127.0.0.1:0")
    dealer = open_socket(context, zmq.DEALER, bounds)
    dealer.connect(f"tcp://127.0.0.1:{port_of(router)}")
    return router, dealer


async def send_when_connected(socket: LoopSocket, writable: asyncio.Event, frames: list[bytes]) -> None:
    async with asyncio.timeout(WAIT):
        while socket.offer(frames) is Offer.FULL:
            await writable.wait()
            writable.clear()


async def test_messages_go_both_ways(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    at_router: asyncio.Queue[list[bytes]] = asyncio.Queue()
    at_dealer: asyncio.Queue[list[bytes]] = asyncio.Queue()
    writable = asyncio.Event()
    router_socket, dealer_socket = router_and_dealer(context)
    with (
        LoopSocket(router_socket, on_message=at_router.put_nowait) as router,
        LoopSocket(dealer_socket, on_message=at_dealer.put_nowait, on_writable=writable.set) as dealer,
    ):
        await send_when_connected(dealer, writable, [b"ask", b""])
        [[peer, *frames]] = await take(at_router)
        assert frames == [b"ask", b""]
        assert router.send([peer, b"answer"])
        assert await take(at_dealer) == [[b"answer"]]


async def test_a_burst_longer_than_a_turn_arrives_whole_and_in_order(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    at_router: asyncio.Queue[list[bytes]] = asyncio.Queue()
    writable = asyncio.Event()
    router_socket, dealer_socket = router_and_dealer(context)
    with (
        LoopSocket(router_socket, on_message=at_router.put_nowait, turn=3),
        LoopSocket(dealer_socket, on_message=lambda _: None, on_writable=writable.set) as dealer,
    ):
        for number in range(500):
            await send_when_connected(dealer, writable, [b"%d" % number])
        assert [int(frames[1]) for frames in await take(at_router, 500)] == list(range(500))


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_echo_storm_never_stalls(
    context: zmq.Context[zmq.Socket[bytes]], new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(echo_storm(context))


async def echo_storm(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Each side sends from inside its callback, where a missed edge would leave both waiting."""
    done: asyncio.Queue[int] = asyncio.Queue()
    writable = asyncio.Event()
    router_socket, dealer_socket = router_and_dealer(context)

    def back(frames: list[bytes]) -> None:
        assert router.send(frames)

    def again(frames: list[bytes]) -> None:
        count = int(frames[0])
        if count == 2000:
            done.put_nowait(count)
        else:
            assert dealer.send([b"%d" % (count + 1)])

    with (
        LoopSocket(router_socket, on_message=back) as router,
        LoopSocket(dealer_socket, on_message=again, on_writable=writable.set) as dealer,
    ):
        await send_when_connected(dealer, writable, [b"0"])
        assert await take(done) == [2000]


async def test_what_arrived_before_the_loop_looked_is_read(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    router_socket, dealer_socket = router_and_dealer(context)
    dealer_socket.setsockopt(zmq.SNDTIMEO, 5000)
    dealer_socket.send(b"early")
    assert router_socket.poll(5000)
    got: asyncio.Queue[list[bytes]] = asyncio.Queue()
    with LoopSocket(router_socket, on_message=got.put_nowait):
        [[_, body]] = await take(got)
    assert body == b"early"
    dealer_socket.close()


def a_pair_in_one_process(
    context: zmq.Context[zmq.Socket[bytes]],
) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """Here a sent message stands in the other's queue at once."""
    left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    left.bind("inproc://pair")
    right.connect("inproc://pair")
    return left, right


async def test_one_turn_reads_no_more_than_its_share(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    reading, writing = a_pair_in_one_process(context)
    order: list[bytes] = []
    finished = asyncio.Event()

    def receive(frames: list[bytes]) -> None:
        if not order:
            asyncio.get_running_loop().call_soon(order.append, b"other work")
        order.extend(frames)
        if frames == [b"9"]:
            finished.set()

    for number in range(10):
        writing.send(b"%d" % number)
    with LoopSocket(reading, on_message=receive, turn=2):
        async with asyncio.timeout(WAIT):
            await finished.wait()
    # Two turns can fall into one round of the loop: one asked for, one by the file descriptor.
    assert order.index(b"other work") <= 4
    writing.close()


async def test_a_failing_callback_does_not_stop_the_next_message(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    errors: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, details: errors.append(details))
    got: asyncio.Queue[list[bytes]] = asyncio.Queue()

    def receive(frames: list[bytes]) -> None:
        if frames[1] == b"bad":
            raise LookupError("no such thing")
        got.put_nowait(frames)

    router_socket, dealer_socket = router_and_dealer(context)
    dealer_socket.setsockopt(zmq.SNDTIMEO, 5000)
    dealer_socket.send(b"bad")
    dealer_socket.send(b"good")
    with LoopSocket(router_socket, on_message=receive):
        [[_, body]] = await take(got)
    assert body == b"good"
    assert [type(details["exception"]) for details in errors] == [LookupError]
    dealer_socket.close()


async def test_a_router_says_that_a_peer_is_gone(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    router_socket, dealer_socket = router_and_dealer(context)
    dealer_socket.close()
    with LoopSocket(router_socket, on_message=lambda _: None) as router:
        assert router.offer([b"nobody", b"hello"]) is Offer.GONE
        assert not router.send([b"nobody", b"hello"])


async def test_a_peer_that_does_not_read_makes_a_full_queue(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    router_socket, dealer_socket = router_and_dealer(context, Bounds(queued=2))
    dealer_socket.setsockopt(zmq.SNDTIMEO, 5000)
    dealer_socket.send(b"hello")
    got: asyncio.Queue[list[bytes]] = asyncio.Queue()
    with LoopSocket(router_socket, on_message=got.put_nowait) as router:
        [[peer, _]] = await take(got)
        offers = {router.offer([peer, bytes(1 << 20)]) for _ in range(100)}
    assert offers == {Offer.SENT, Offer.FULL}
    dealer_socket.close()


async def test_a_dealer_without_a_connection_is_full_and_then_told_that_it_is_writable(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    writable = asyncio.Event()
    dealer_socket = open_socket(context, zmq.DEALER, Bounds())
    with LoopSocket(dealer_socket, on_message=lambda _: None, on_writable=writable.set) as dealer:
        assert dealer.offer([b"x"]) is Offer.FULL
        router_socket = open_socket(context, zmq.ROUTER, Bounds())
        router_socket.bind("tcp://127.0.0.1:0")
        dealer_socket.connect(f"tcp://127.0.0.1:{port_of(router_socket)}")
        async with asyncio.timeout(WAIT):
            await writable.wait()
        assert dealer.offer([b"x"]) is Offer.SENT
    router_socket.close()


async def test_a_paused_socket_reads_nothing_until_resumed(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    reading, writing = a_pair_in_one_process(context)
    got: asyncio.Queue[list[bytes]] = asyncio.Queue()
    with LoopSocket(reading, on_message=got.put_nowait) as socket:
        socket.pause()
        writing.send(b"later")
        for _ in range(20):
            await asyncio.sleep(0)
        assert got.empty()
        socket.resume()
        assert await take(got) == [[b"later"]]
    writing.close()


async def test_frames_pass_on_uncopied(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    body = bytes(range(256)) * 2000
    back: asyncio.Queue[list[bytes]] = asyncio.Queue()
    writable = asyncio.Event()
    router_socket, dealer_socket = router_and_dealer(context)

    def forward(frames: list[zmq.Frame]) -> None:
        assert all(isinstance(frame, zmq.Frame) for frame in frames)
        assert user_id(frames[0]) is None
        assert router.send(frames)

    with (
        LoopSocket(router_socket, on_frames=forward) as router,
        LoopSocket(dealer_socket, on_message=back.put_nowait, on_writable=writable.set) as dealer,
    ):
        await send_when_connected(dealer, writable, [b"head", body])
        assert await take(back) == [[b"head", body]]


async def test_a_closed_socket_takes_nothing_and_closing_twice_is_fine(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    router_socket, dealer_socket = router_and_dealer(context)
    dealer_socket.close()
    router = LoopSocket(router_socket, on_message=lambda _: None)
    router.close()
    router.close()
    assert router.offer([b"x", b"y"]) is Offer.GONE


async def test_wrong_use_is_refused(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    socket = context.socket(zmq.ROUTER)
    with pytest.raises(ValueError, match="exactly one"):
        LoopSocket(socket)
    with pytest.raises(ValueError, match="ROUTER"):
        LoopSocket(socket, on_message=lambda _: None, on_writable=lambda: None)
    with pytest.raises(ValueError, match="turn"):
        LoopSocket(socket, on_message=lambda _: None, turn=0)
    socket.close()


async def test_the_monitor_tells_of_a_connection_and_its_end(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    events: asyncio.Queue[PeerEvent] = asyncio.Queue()
    router_socket = open_socket(context, zmq.ROUTER, Bounds())
    router_socket.bind("tcp://127.0.0.1:0")
    dealer_socket = open_socket(context, zmq.DEALER, Bounds(reconnect=10, reconnect_max=20))
    monitor = Monitor(dealer_socket, events.put_nowait)
    dealer_socket.connect(f"tcp://127.0.0.1:{port_of(router_socket)}")
    connected, ready = await take(events, 2)
    assert (connected.change, ready.change) == (Change.CONNECTED, Change.READY)
    assert ready.endpoint.startswith("tcp://127.0.0.1:")
    router_socket.close(0)
    [gone] = await take(events)
    assert gone.change is Change.DISCONNECTED
    monitor.close()
    monitor.close()
    dealer_socket.close(0)


async def test_curve_with_the_wrong_server_key_fails_the_handshake(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    _, server_secret = zmq.curve_keypair()
    other_public, _ = zmq.curve_keypair()
    public, secret = zmq.curve_keypair()
    router_socket = open_socket(context, zmq.ROUTER, Bounds(), curve=CurveServer(server_secret))
    router_socket.bind("tcp://127.0.0.1:0")
    dealer_socket = open_socket(context, zmq.DEALER, Bounds(), curve=CurveClient(other_public, public, secret))
    events: asyncio.Queue[PeerEvent] = asyncio.Queue()
    monitor = Monitor(router_socket, events.put_nowait)
    dealer_socket.connect(f"tcp://127.0.0.1:{port_of(router_socket)}")
    seen: set[Change] = set()
    async with asyncio.timeout(WAIT):
        while not seen & {Change.BROKEN_HANDSHAKE, Change.FAILED_HANDSHAKE}:
            seen.add((await events.get()).change)
    assert Change.READY not in seen
    monitor.close()
    dealer_socket.close(0)
    router_socket.close(0)


async def test_an_oversized_frame_disconnects_its_sender(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    got: asyncio.Queue[list[bytes]] = asyncio.Queue()
    events: asyncio.Queue[PeerEvent] = asyncio.Queue()
    router_socket, dealer_socket = router_and_dealer(context, Bounds(message=1000))
    monitor = Monitor(router_socket, events.put_nowait)
    dealer_socket.setsockopt(zmq.SNDTIMEO, 5000)
    with LoopSocket(router_socket, on_message=got.put_nowait):
        dealer_socket.send(bytes(1001))
        async with asyncio.timeout(WAIT):
            while (await events.get()).change is not Change.DISCONNECTED:
                pass
        assert got.empty()
        monitor.close()
    dealer_socket.close(0)


def test_secret_keys_stay_out_of_the_repr() -> None:
    assert "hidden" not in repr(CurveServer(b"hidden"))
    assert "hidden" not in repr(CurveClient(b"a", b"b", b"hidden"))
