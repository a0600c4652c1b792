import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from meterfabric_client import BackPressure, Closed, Meter, Options, RecordsRejected, Rejected, Undelivered
from meterfabric_protocol.record import Split
from meterfabric_sidecar.ingest.credit import CreditBounds
from meterfabric_sidecar.ingest.intake import Conflict, Full
from meterfabric_sidecar.ingest.zeromq import ZeromqBounds
from tests.client.running_sidecar import Log, RunningSidecar, until

QUICK = Options(delay=0.01, retry=0.01, retry_max=0.05, request=5.0)


@pytest.fixture
def sidecar() -> Iterator[RunningSidecar]:
    with RunningSidecar() as running:
        yield running


@pytest.fixture(params=["http", "tcp"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ids(log: Log) -> list[str]:
    return [json.loads(record)["id"] for record in log.records.values()]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_what_is_recorded_arrives(sidecar: RunningSidecar, scheme: str) -> None:
    with Meter(sidecar.url(scheme), source="/app", options=QUICK) as meter:
        meter.record(type="cpu", subject="customer-1", data={"seconds": 1.5}, id="a", region="eu")
        meter.send({"type": "ram", "id": "b"})
        meter.send(b'{"specversion":"1.0","id":"c","source":"/other","type":"disk"}')
        meter.send_many([{"type": "net", "id": "d"}, {"type": "net", "id": "e"}])
    assert ids(sidecar.log) == ["a", "b", "c", "d", "e"]
    first = json.loads(sidecar.log.records["/app\x1fa"])
    assert first.pop("time")
    assert first == {
        "specversion": "1.0",
        "id": "a",
        "source": "/app",
        "type": "cpu",
        "subject": "customer-1",
        "region": "eu",
        "data": {"seconds": 1.5},
    }
    stats = meter.stats
    assert (stats.recorded, stats.accepted, stats.rejected, stats.pending, stats.trouble) == (5, 5, 0, 0, "")


def test_records_go_in_batches_and_all_of_them(sidecar: RunningSidecar, scheme: str) -> None:
    with Meter(sidecar.url(scheme), options=replace(QUICK, batch_records=100)) as meter:
        for number in range(2500):
            meter.record(type="cpu", id=str(number))
    assert ids(sidecar.log) == [str(number) for number in range(2500)]
    assert 25 <= sidecar.log.calls < 250


def test_a_lone_record_goes_after_the_delay_without_a_flush(sidecar: RunningSidecar, scheme: str) -> None:
    with Meter(sidecar.url(scheme), options=QUICK) as meter:
        meter.record(type="cpu")
        until(lambda: len(sidecar.log.records) == 1)
        until(lambda: meter.pending == 0)


def test_flush_sends_at_once_and_waits(sidecar: RunningSidecar, scheme: str) -> None:
    with Meter(sidecar.url(scheme), options=replace(QUICK, delay=3600)) as meter:
        meter.record(type="cpu")
        meter.flush(10)
        assert len(sidecar.log.records) == 1
        meter.flush(10)


def test_many_threads_share_one_meter(sidecar: RunningSidecar, scheme: str) -> None:
    with Meter(sidecar.url(scheme), options=QUICK) as meter:

        def work() -> None:
            for _ in range(300):
                meter.record(type="cpu")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(sidecar.log.records) == 1200


def test_a_bad_record_is_raised_at_flush_and_the_others_are_kept(sidecar: RunningSidecar, scheme: str) -> None:
    meter = Meter(sidecar.url(scheme), options=replace(QUICK, delay=3600))
    for number in range(10):
        meter.send({"type": "cpu", "id": str(number)} if number not in (3, 7) else {"type": 5, "id": str(number)})
    with pytest.raises(RecordsRejected, match=r"2 records were refused; the first: .*type") as caught:
        meter.flush(10)
    assert [json.loads(error.record)["id"] for error in caught.value.errors] == ["3", "7"]
    assert caught.value.errors[0].problem["status"] == 400
    assert ids(sidecar.log) == [str(number) for number in range(10) if number not in (3, 7)]
    meter.close()
    assert (meter.stats.accepted, meter.stats.rejected) == (8, 2)


def test_a_bad_record_is_told_to_on_error_instead(sidecar: RunningSidecar, scheme: str) -> None:
    told: list[Rejected] = []

    def on_error(error: Rejected) -> None:
        told.append(error)
        raise RuntimeError("a callback that fails")

    with Meter(sidecar.url(scheme), options=QUICK, on_error=on_error) as meter:
        meter.send(b"not json")
        meter.record(type="cpu")
        meter.flush(10)
    assert [error.record for error in told] == [b"not json"]
    assert len(sidecar.log.records) == 1


def test_a_conflict_is_of_its_record_only(sidecar: RunningSidecar, scheme: str) -> None:
    def clash(split: Split) -> None:
        for index, key in enumerate(split.keys):
            if key.endswith("\x1f1"):
                raise Conflict(index, "/s", "1")

    sidecar.log.trouble = clash
    meter = Meter(sidecar.url(scheme), source="/s", options=replace(QUICK, delay=3600))
    for number in range(3):
        meter.record(type="cpu", id=str(number))
    with pytest.raises(RecordsRejected) as caught:
        meter.close(10)
    assert [error.problem["status"] for error in caught.value.errors] == [409]
    assert ids(sidecar.log) == ["0", "2"]


def test_refusals_that_may_pass_are_retried_until_they_do(sidecar: RunningSidecar, scheme: str) -> None:
    refusals = iter([RuntimeError("bug"), Full(0.01), RuntimeError("bug")])

    def refuse(split: Split) -> None:
        if refusal := next(refusals, None):
            raise refusal

    sidecar.log.trouble = refuse
    with Meter(sidecar.url(scheme), options=QUICK) as meter:
        meter.record(type="cpu", id="a")
        meter.flush(10)
        assert meter.stats.retries == 3
    assert ids(sidecar.log) == ["a"]


def test_the_wait_that_the_sidecar_names_is_kept(sidecar: RunningSidecar, scheme: str) -> None:
    def full(split: Split) -> None:
        raise Full(3600)

    sidecar.log.trouble = full
    meter = Meter(sidecar.url(scheme), options=QUICK)
    meter.record(type="cpu")
    until(lambda: meter.stats.retries == 1)
    with pytest.raises(Undelivered, match="429"):
        meter.close(0.2)
    assert sidecar.log.calls == 1


def test_a_record_that_was_kept_but_not_answered_is_logged_once(sidecar: RunningSidecar, scheme: str) -> None:
    sidecar.log.hang = 1
    with Meter(sidecar.url(scheme), options=replace(QUICK, request=0.2)) as meter:
        meter.record(type="cpu", id="a")
        meter.flush(10)
    assert (ids(sidecar.log), sidecar.log.calls) == (["a"], 2)


def test_a_sidecar_that_starts_later_gets_everything(scheme: str) -> None:
    ports = free_port(), free_port()
    log = Log()
    meter = Meter(f"{scheme}://127.0.0.1:{ports[0 if scheme == 'http' else 1]}", options=QUICK)
    meter.record(type="cpu", id="early")
    with pytest.raises(Undelivered, match=r"1 records are unanswered; last trouble: .*(refused|not connected)"):
        meter.flush(0.1)
    with RunningSidecar(log, *ports):
        meter.close(10)
    assert ids(log) == ["early"]


def test_a_sidecar_that_restarts_loses_nothing(scheme: str) -> None:
    log = Log()
    with RunningSidecar(log) as first:
        ports = first.port, first.zeromq_port
        meter = Meter(first.url(scheme), options=QUICK)
        meter.record(type="cpu", id="before")
        meter.flush(10)
    meter.record(type="cpu", id="between")
    with RunningSidecar(log, *ports):
        meter.record(type="cpu", id="after")
        meter.close(10)
    assert ids(log) == ["before", "between", "after"]


def test_back_pressure_waits_then_raises_and_shows(sidecar: RunningSidecar, scheme: str) -> None:
    def fail(split: Split) -> None:
        raise RuntimeError("bug")

    sidecar.log.trouble = fail
    meter = Meter(sidecar.url(scheme), options=replace(QUICK, buffer_records=5, block=0.3))
    for _ in range(5):
        meter.record(type="cpu")
    with pytest.raises(BackPressure, match=r"5 records .* pending .*500") as caught:
        meter.record(type="cpu")
    assert (caught.value.records, meter.pending) == (5, 5)
    assert "500" in meter.stats.trouble
    sidecar.log.trouble = lambda split: None
    meter.flush(10)
    meter.record(type="cpu")
    meter.close(10)
    assert len(sidecar.log.records) == 6


def test_a_record_over_the_limit_is_refused_at_once(sidecar: RunningSidecar) -> None:
    with Meter(sidecar.http, options=QUICK) as meter, pytest.raises(ValueError, match="limit is 262144"):
        meter.record(type="cpu", data="x" * 300_000)


def test_a_closed_meter_takes_nothing_and_may_be_closed_again(sidecar: RunningSidecar) -> None:
    meter = Meter(sidecar.http)
    meter.close()
    meter.close()
    with pytest.raises(Closed):
        meter.record(type="cpu")


def test_close_is_bounded_and_says_what_was_not_delivered() -> None:
    meter = Meter(f"http://127.0.0.1:{free_port()}", options=QUICK)
    meter.record(type="cpu")
    begun = time.monotonic()
    with pytest.raises(Undelivered):
        meter.close(0.1)
    assert time.monotonic() - begun < 5


def test_a_failing_application_fails_with_its_own_error() -> None:
    meter = Meter(f"http://127.0.0.1:{free_port()}", options=replace(QUICK, close=0.05))

    def application() -> None:
        with meter:
            meter.record(type="cpu")
            raise LookupError("the application's own")

    with pytest.raises(LookupError):
        application()


def test_batches_fit_into_a_small_credit() -> None:
    bounds = ZeromqBounds(credit=CreditBounds(total=3000, window=1000, floor=400, clients=2))
    with RunningSidecar(zeromq=bounds) as sidecar:
        with Meter(sidecar.tcp, options=QUICK) as meter:
            for number in range(300):
                meter.record(type="cpu", id=str(number))
        assert ids(sidecar.log) == [str(number) for number in range(300)]


def test_a_place_for_a_client_is_waited_for() -> None:
    bounds = ZeromqBounds(credit=CreditBounds(total=3000, window=1000, floor=400, clients=1), sweep_seconds=0.05)
    with RunningSidecar(zeromq=bounds) as sidecar:
        first = Meter(sidecar.tcp, options=QUICK)
        first.record(type="cpu", id="first")
        first.flush(10)
        second = Meter(sidecar.tcp, options=QUICK)
        second.record(type="cpu", id="second")
        with pytest.raises(Undelivered, match="503"):
            second.flush(0.3)
        first.close(10)
        second.close(10)
        assert ids(sidecar.log) == ["first", "second"]


@pytest.mark.parametrize("url", ["https://x", "127.0.0.1:8280", "http://", "tcp://h/path", "http://h?x=1", "ftp://h"])
def test_a_url_that_names_no_sidecar_is_refused_with_its_reason(url: str) -> None:
    with pytest.raises(ValueError, match=r"begins with|a host and a port|has no path"):
        Meter(url)


@pytest.mark.parametrize("wrong", [{"batch_records": 0}, {"delay": -1}, {"batch_bytes": 1000}, {"buffer_bytes": 1000}])
def test_options_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)
