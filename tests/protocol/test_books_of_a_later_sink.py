"""The books of a sink that joined when a log of the pod was over already, and forgotten there."""

import pytest

from meterfabric_protocol import notice
from meterfabric_protocol.books import LogBooks, LogEvidence, account
from meterfabric_protocol.delivery.stored import Held, StoredNotice
from meterfabric_protocol.merkle import EMPTY_ROOT

OLD, MIDDLE, NEW = ("a.b/c/pod/" + letter * 26 for letter in "xyz")


def named(origin: str, by: str) -> LogEvidence:
    """A log of which only its end is known, 9 leaves."""
    return LogEvidence(Held(origin, 0, EMPTY_ROOT, b"", 0, 0, 0, 0, b"", False, b"", b"", 9, b"r" * 32, by), (), ())


def going_on(origin: str, previous: str, *said: notice.Notice, held: Held | None = None) -> LogEvidence:
    """A log that names `previous`; its own leaves don't matter here."""
    first = notice.Continues(log=origin, previous=previous, size=9, root=b"r" * 32, reason="restart")
    bodies = tuple(StoredNotice(index, notice.encode(each)) for index, each in enumerate((first, *said)))
    return LogEvidence(held or named(origin, "").held, (), bodies)


def of(books: list[LogBooks], origin: str) -> dict[str, int]:
    (found,) = [each for each in books if each.origin == origin]
    return {fate: count for fate, count in found.records.items() if count}


def joined(log: str, sink: str = "late", size: int = 0) -> notice.Notice:
    return notice.SinkJoined(log=log, sink=sink, size=size)


def test_a_log_that_was_over_before_the_sink_joined_is_not_owed() -> None:
    assert of(account([named(OLD, NEW), going_on(NEW, OLD, joined(NEW))], "late"), OLD) == {"unowed": 9}


def test_nor_are_those_before_it() -> None:
    logs = [named(OLD, MIDDLE), going_on(MIDDLE, OLD), going_on(NEW, MIDDLE, joined(NEW))]
    assert of(account(logs, "late"), OLD) == {"unowed": 9}


@pytest.mark.parametrize(
    "said",
    [
        (),
        (joined(NEW, sink="another"),),
        # The pod still had all of the log.
        (joined(NEW), joined(OLD, size=0)),
        (joined(NEW), notice.SinkLeft(log=OLD, sink="late", size=4), joined(OLD, size=0)),
    ],
)
def test_a_log_that_the_pod_still_owes_is_pending(said: tuple[notice.Notice, ...]) -> None:
    assert of(account([named(OLD, NEW), going_on(NEW, OLD, *said)], "late"), OLD) == {"pending": 9}


def test_of_a_log_that_the_pod_still_had_in_part_the_rest_is_owed() -> None:
    said = (joined(NEW), notice.SinkLeft(log=OLD, sink="late", size=2), joined(OLD, size=4))
    assert of(account([named(OLD, NEW), going_on(NEW, OLD, *said)], "late"), OLD) == {"unowed": 4, "pending": 5}
