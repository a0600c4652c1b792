"""Books: read of a sink's page, told with who is gone, summed, remembered, and said when they changed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meterfabric_operator.objects import Key
from meterfabric_operator.status.books import Books, Open, of_sink, read, summed, told
from meterfabric_operator.watching.observed import Observed

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SINCE = int(NOW.timestamp()) - 90
WEB, API = Open("shop", "web-0", "u-1", 3, SINCE), Open("shop", "api-0", "u-2", 4, SINCE + 60)
RECORDS = {"delivered": 9, "expired": 1, "pending": 7, "unowed": 5, "repeated": 2}
SINK = Key("MeteringSink", "metering", "billing")


def page(*open: Open, **records: int) -> bytes:
    entries = [{name: getattr(each, name) for name in each.__struct_fields__} for each in open]
    return json.dumps({"logs": 2, "records": RECORDS | records, "open": entries}).encode()


def test_a_page_becomes_books_that_add_up() -> None:
    status = told(read(page(WEB, API)), [], NOW).status()
    assert status == {
        "accepted": 17,
        "delivered": 9,
        "expired": 1,
        "damaged": 0,
        "lost": 0,
        "missing": 0,
        "unexplained": 0,
        "pending": 7,
        "abandoned": 0,
        "unclosed": 0,
        "abandonedBy": [],
        "oldestPending": "90s",
        "updated": "2026-11-24T12:00:00Z",
    }


def test_what_a_pod_that_is_gone_never_sent_is_abandoned_and_no_longer_pending() -> None:
    status = told(read(page(WEB, API)), [WEB], NOW).status()
    assert (status["accepted"], status["pending"], status["abandoned"]) == (17, 4, 3)
    assert status["unclosed"] == 1
    assert status["abandonedBy"] == [{"pod": "shop/web-0", "records": 3}]
    assert status["oldestPending"] == "30s"


@pytest.mark.parametrize("data", [b"{}", b"[]", b"null", b"?", page(WEB).replace(b'"u-1"', b"1")])
def test_what_are_no_books_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|Object|Expected"):
        read(data)


def test_books_of_sinks_are_summed_and_the_oldest_counts() -> None:
    later = NOW + timedelta(seconds=1)
    one = Books({"delivered": 1, "pending": 3}, 50, NOW)
    two = Books({"delivered": 10, "abandoned": 2}, 0, later, 1, {"shop/web-0": 2})
    both = summed([one, two])
    assert both is not None
    assert [both.count(fate) for fate in ("delivered", "pending", "abandoned", "lost")] == [11, 3, 2, 0]
    assert (both.since, both.asked, both.unclosed, both.abandoned_by) == (50, later, 1, {"shop/web-0": 2})
    assert summed([]) is None


def test_a_replica_that_heard_nothing_yet_believes_the_status() -> None:
    observed, books = Observed(), told(read(page(WEB, API)), [WEB], NOW)
    assert of_sink(observed, SINK) is None
    observed.sinks[SINK] = {"status": {"books": books.status()}}
    assert of_sink(observed, SINK) == books
    heard = observed.books[SINK] = told(read(page(delivered=10)), [], NOW)
    assert of_sink(observed, SINK) is heard


@pytest.mark.parametrize(
    "spoil", [lambda held: held.pop("updated"), lambda held: held.update(oldestPending=None), lambda held: held.clear()]
)
def test_a_status_of_an_older_release_is_no_books(spoil: Callable[[dict[str, Any]], Any]) -> None:
    observed, held = Observed(), told(read(page()), [], NOW).status()
    spoil(held)
    observed.sinks[SINK] = {"status": {"books": held}}
    assert of_sink(observed, SINK) is None


def test_the_time_of_asking_alone_is_no_news() -> None:
    books = told(read(page()), [], NOW)
    assert not told(read(page(WEB)), [], NOW + timedelta(minutes=1)).says_as(told(read(page(WEB)), [], NOW))
    empty = read(page(pending=0))
    assert told(empty, [], NOW + timedelta(minutes=1)).says_as(told(empty, [], NOW))
    assert not books.says_as(None)
