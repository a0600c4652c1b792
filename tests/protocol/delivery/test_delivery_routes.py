"""Which relay a cursor uses, and when another."""

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery import effects as fx

from .producer_rig import PARCELS, Rig


def test_without_an_answer_another_relay_is_tried() -> None:
    rig = Rig(relays=("relay-0", "relay-1"))
    rig.up(relay="relay-0")
    rig.up(relay="relay-1")
    rig.seal(PARCELS[0])
    used = {send.relay for send in rig.of(fx.Send)}
    rig.wait(10.0)
    assert {send.relay for send in rig.of(fx.Send) if isinstance(send.message, m.Head)} - used


def test_a_relay_that_is_lost_is_left_at_once() -> None:
    rig = Rig(relays=("relay-0", "relay-1"))
    rig.up(relay="relay-0")
    rig.up(relay="relay-1")
    rig.seal(PARCELS[0])
    (used,) = {send.relay for send in rig.of(fx.Send)}
    rig.do(rig.core.lost(used, rig.now))
    assert {send.relay for send in rig.of(fx.Send)} == {"relay-0", "relay-1"} - {used}


def test_a_relay_that_reaches_no_sink_is_asked_again() -> None:
    rig = Rig(ask_interval=30.0)
    rig.core.hello_sent("relay-0", b"n" * 16)
    rig.say(m.Welcome("relay-0", 1_000_000))
    rig.wait(31.0)
    assert m.Want({}) in rig.sent(m.Want)


def test_a_relay_that_drains_is_given_nothing_new() -> None:
    rig = Rig(relays=("relay-0", "relay-1"))
    rig.up(relay="relay-0")
    rig.up(relay="relay-1")
    rig.say(m.Draining(), relay="relay-0")
    rig.seal(PARCELS[0])
    assert {send.relay for send in rig.of(fx.Send)} == {"relay-1"}
