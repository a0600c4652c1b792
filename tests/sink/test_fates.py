"""What a sink says of all that it heard of: the same as an account of every batch, at the cost of a few rows."""

from collections import Counter
from collections.abc import AsyncIterator
from itertools import groupby

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import notice
from meterfabric_protocol.books import LogEvidence, account
from meterfabric_sink.destination.base import Destination, DestinationRefused, LogUpdate
from meterfabric_sink.destination.open import destination
from meterfabric_sink.evidence import Evidence, open_evidence
from meterfabric_sink.fates import Counting, Open, SinkBooks
from tests.pki import FABRIC, TRUST_DOMAIN, Authority
from tests.sink.sink_logs import Log, event

pytestmark = pytest.mark.integration
NOW = 1000


@pytest.fixture
async def opened(sink_url: str) -> AsyncIterator[Destination]:
    found = destination(sink_url, clock=lambda: float(NOW))
    await found.open()
    yield found
    await found.close()


def counted(url: str, counting: Counting) -> SinkBooks:
    with open_evidence(url) as evidence:
        found = counting.count(evidence)
        assert {fate: count for fate, count in found.records.items() if count} == in_full(evidence)
        return found


def in_full(evidence: Evidence) -> dict[str, int]:
    """Every batch of every log, as an audit counts them."""
    total: Counter[str] = Counter()
    for _, pod in groupby(list(evidence.logs()), lambda held: held.origin.rpartition("/")[0]):
        logs = [LogEvidence(held, list(evidence.batches(held.origin)), evidence.notices(held.origin)) for held in pod]
        for books in account(logs, "billing"):
            total.update({fate: count for fate, count in books.records.items() if count})
    return dict(total)


def say(log: Log, *said: notice.Notice) -> Log:
    return log.add([notice.encode(each) for each in said])


def passed_over(log: Log, count: int) -> Log:
    return log.add([event(number) for number in range(log.size, log.size + count)], stub=True)


def heard(log: Log, size: int, chain: bytes = b"") -> LogUpdate:
    log.held = msgspec.structs.replace(log.held, head_size=size, chain=chain)
    return LogUpdate(log.origin, log.held.size, log.held)


async def test_all_that_is_here_is_delivered_and_all_that_was_heard_of_waits(
    opened: Destination, sink_url: str
) -> None:
    counting = Counting("billing")
    assert counted(sink_url, counting) == SinkBooks(0, {"delivered": 0}, ())
    one, two = Log("one"), Log("two")
    await opened.commit([say(one, notice.Opened(log=one.origin)).records(3).next(), two.records(4).next()])
    assert counted(sink_url, counting).records == {"delivered": 7}
    await opened.commit([heard(two, 9)])
    waiting = (Open("team-a", "one", "", 0, NOW), Open("team-a", "two", "", 5, NOW))
    assert counted(sink_url, counting) == SinkBooks(2, {"delivered": 7, "pending": 5}, waiting)


async def test_a_log_is_open_until_it_is_closed_or_gone_on_and_all_here(opened: Destination, sink_url: str) -> None:
    one, two, over = Log("one"), Log("two"), Log("over")
    await opened.commit([log.records(3).next() for log in (one, two, over)])
    closed = msgspec.structs.replace(one.held, closed=True)
    ends = msgspec.structs.replace(two.held, final_size=5, vouched_by="another")
    ended = msgspec.structs.replace(over.held, final_size=3, vouched_by="another")
    await opened.commit([LogUpdate(held.origin, held.size, held) for held in (closed, ends, ended)])
    (found,) = counted(sink_url, Counting("billing")).open
    assert (found.pod, found.pending) == ("two", 2)


async def test_a_log_that_waits_is_told_with_the_pod_that_its_certificate_names(
    opened: Destination, sink_url: str
) -> None:
    pod, log = "p" * 200, Log("short")
    uri = f"spiffe://{TRUST_DOMAIN}/fabric/{FABRIC}/ns/shop/sa/web/pod/{pod}/uid/6a1f-22"
    await opened.commit([log.records(1).next()])
    await opened.commit([heard(log, 3, Authority().chain(Ed25519PrivateKey.generate(), uri))])
    (waiting,) = counted(sink_url, Counting("billing")).open
    assert (waiting.pod, waiting.uid, waiting.pending) == (pod, "6a1f-22", 2)


async def test_what_was_passed_over_has_the_fate_that_a_notice_gives_it(opened: Destination, sink_url: str) -> None:
    counting, log = Counting("billing"), Log("one")
    say(log.records(3), notice.Expired(log=log.origin, sink="billing", ranges=((4, 9),), reason="age"))
    await opened.commit([passed_over(passed_over(log, 2), 3).next()])
    assert counted(sink_url, counting).records == {"delivered": 3, "expired": 5}
    say(log, notice.Damaged(log=log.origin, ranges=((10, 12),), cause="hash"))
    await opened.commit([passed_over(log, 2).records(1).next()])
    assert counted(sink_url, counting).records == {"delivered": 4, "expired": 5, "damaged": 2}
    await opened.commit([passed_over(log, 7).next()])
    assert counted(sink_url, counting).records == {"delivered": 4, "expired": 5, "damaged": 2, "unexplained": 7}


async def test_a_log_that_goes_another_on_tells_what_the_disk_lost_and_what_stands_again(
    opened: Destination, sink_url: str
) -> None:
    # Logs of one pod: their names differ in the key's hash only.
    before, after = Log("one"), Log("one")
    after.origin = after.origin[:-1] + ("a" if after.origin[-1] != "a" else "b")
    after.held = msgspec.structs.replace(after.held, origin=after.origin)
    before.records(3)
    first = before.size
    before.records(4)
    root = before.frontier.root()
    await opened.commit([before.next()])
    said = notice.Continues(
        log=after.origin,
        previous=before.origin,
        size=3,
        root=before.held.root,
        heard=20,
        reason="rollback",
        again=(notice.Again(first, before.size, 1, root),),
    )
    named = msgspec.structs.replace(before.held, final_size=3, vouched_by=after.origin)
    over = LogUpdate(before.origin, named.size, named)
    await opened.commit([passed_over(say(after, said), 4).next(), over])
    assert counted(sink_url, Counting("billing")).records == {"delivered": 7, "repeated": 4, "missing": 13}


async def test_a_sink_that_is_set_back_and_grows_anew_is_counted_anew(sink_url: str, opened: Destination) -> None:
    counting, log = Counting("billing"), Log("one")
    await opened.commit([passed_over(log.records(1), 5).next()])
    counted(sink_url, counting)
    counting._stubs[log.origin] = (4, counting._stubs[log.origin][1] * 2)
    assert counted(sink_url, counting).records == {"delivered": 1, "unexplained": 5}


def test_a_sink_that_isnt_there_is_refused(sink_url: str) -> None:
    with pytest.raises(DestinationRefused), open_evidence(sink_url) as evidence:
        Counting("billing").count(evidence)
