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


def test_a_relay_that_stops_is_left_alone_while_it_is_still_listed() -> None:
    rig = Rig(relays=("relay-0", "relay-1", "relay-2"), stopping=10.0)
    held = sorted(rig.core.links)
    for relay in held:
        rig.up(relay=relay)
    rig.say(m.Draining(), relay=held[0])
    (other,) = {"relay-0", "relay-1", "relay-2"} - set(held)
    assert rig.of(fx.HangUp) == [fx.HangUp(held[0])]
    assert rig.of(fx.Dial) == [fx.Dial(other)]
    rig.do(rig.core.set_relays(("relay-0", "relay-1", "relay-2"), rig.now))
    assert rig.effects == []
    rig.wait(9.9)
    assert rig.of(fx.Dial) == rig.of(fx.HangUp) == []
    rig.wait(0.1)
    assert rig.of(fx.Dial) == [fx.Dial(held[0])]


def test_a_relay_that_refuses_since_it_stops_gives_its_place_to_another() -> None:
    rig = Rig(relays=("relay-0", "relay-1", "relay-2"))
    first, second = sorted(rig.core.links)
    rig.up(relay=second)
    rig.core.hello_sent(first, b"n" * 16)
    rig.say(m.Refused("draining", "this relay is stopping"), relay=first)
    assert rig.of(fx.HangUp) == [fx.HangUp(first)]
    assert {dial.relay for dial in rig.of(fx.Dial)} == {"relay-0", "relay-1", "relay-2"} - {first, second}
    assert rig.of(fx.Alarm) == []


def test_what_is_on_its_way_through_a_relay_that_stops_is_finished_there_first() -> None:
    rig = Rig(relays=("relay-0", "relay-1"))
    rig.up(relay="relay-0")
    rig.up(relay="relay-1")
    rig.seal(PARCELS[0])
    (used,) = {send.relay for send in rig.of(fx.Send)}
    rig.answer("position", 0, relay=used)
    assert len(rig.sent(m.Batch)) == 1
    rig.say(m.Draining(), relay=used)
    rig.seal(PARCELS[1])
    assert rig.effects == []
    rig.answer("receipt", PARCELS[0].size, about=PARCELS[0].size, relay=used)
    assert {send.relay for send in rig.of(fx.Send)} == {"relay-0", "relay-1"} - {used}
    assert rig.acked() == PARCELS[0].size
    rig.wait(0.1)
    assert rig.of(fx.HangUp) == [fx.HangUp(used)]


def test_the_only_relay_is_called_again_once_it_was_left() -> None:
    rig = Rig()
    rig.up()
    rig.say(m.Draining())
    assert rig.of(fx.HangUp) == [fx.HangUp("relay-0")]
    rig.wait(0.1)
    assert rig.of(fx.Dial) == [fx.Dial("relay-0")]
