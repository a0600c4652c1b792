"""What waits for a worker, what it has in hand, and who is given what it leaves."""

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.relayed import Item, Producer, Send
from meterfabric_protocol.delivery.settings import RelaySettings
from meterfabric_protocol.delivery.workers import ROUTES, Worker, Workers

SENDER = Producer("producer-1/1", "producer-1", b"n" * 16)


def pair(**settings: int) -> tuple[Workers, Worker]:
    workers = Workers(RelaySettings("relay-0", max_message=100, **settings))
    workers.admit("user-0", "billing", "billing-0", b"chain", 0)
    return workers, workers.by_user["user-0"]


def head(log: str, epoch: int, *, probe: bool = False, sender: Producer = SENDER) -> Item:
    return Item(sender, log, "billing", epoch, (b"chain", b"note"), head=True, probe=probe)


def batch(log: str, cost: int = 60) -> Item:
    return Item(SENDER, log, "billing", 1, (b"chain", b"header", b"payload"), cost)


def told(effects: list[Send]) -> list[m.Message]:
    return [effect.message for effect in effects]


def test_a_newer_head_takes_the_place_of_one_that_waits_and_keeps_its_question() -> None:
    workers, worker = pair()
    assert workers.queue_head(worker, head("log", 1, probe=True))
    assert workers.queue_head(worker, head("log", 2))
    assert told(workers.forward([worker])) == [m.Listen(1, "log", b"n" * 16, 2, True)]


def test_of_one_producer_only_so_many_heads_wait() -> None:
    workers, worker = pair(heads=1)
    assert workers.queue_head(worker, head("log", 1))
    assert not workers.queue_head(worker, head("another", 1))
    assert workers.queue_head(worker, head("log", 2))
    assert workers.queue_head(worker, head("another", 1, sender=Producer("producer-2/2", "producer-2", b"o" * 16)))


def test_what_the_window_does_not_hold_waits_for_an_answer() -> None:
    workers, worker = pair()
    for _ in range(2):
        worker.queue.push("log", 60, batch("log"))
    assert [type(message) for message in told(workers.forward([worker]))] == [m.Deliver]
    assert workers.forward([worker]) == []
    assert workers.answered(worker, 1) is not None
    assert [type(message) for message in told(workers.forward([worker]))] == [m.Deliver]


def test_an_answer_to_nothing_is_nothing() -> None:
    workers, worker = pair()
    assert workers.answered(worker, 7) is None


def test_what_waits_for_a_worker_that_goes_is_another_s_or_nobody_s() -> None:
    workers, worker = pair()
    worker.queue.push("log", 60, batch("log"))
    workers.queue_head(worker, head("log", 1))
    workers.drain(worker)
    left, sent = workers.rehome(worker)
    assert ([item.head for item in left], sent) == ([True, False], [])
    workers.admit("user-1", "billing", "billing-1", b"chain", 0)
    for item in left:
        worker.queue.push("log", item.cost, item)
    left, sent = workers.rehome(worker)
    assert (left, {effect.user for effect in sent}) == ([], {"user-1"})


def test_with_its_producer_goes_what_only_waits() -> None:
    workers, worker = pair()
    for _ in range(2):
        worker.queue.push("log", 60, batch("log"))
    workers.forward([worker])
    workers.queue_head(worker, head("log", 1))
    assert [item.cost for item in workers.forget("producer-1")] == [60]
    assert (len(worker.heads), len(worker.flight)) == (0, 1)


def test_a_log_stays_with_its_worker_until_one_comes_or_goes_that_is_better_for_it() -> None:
    workers, _ = pair()
    for number in range(1, 5):
        workers.admit(f"user-{number}", "billing", f"billing-{number}", b"chain", 0)
    logs = [f"log-{number}" for number in range(40)]

    def routes(sender: Producer = SENDER) -> dict[str, str]:
        found = {log: workers.route(sender, "billing", log) for log in logs}
        return {log: worker.user for log, worker in found.items() if worker is not None}

    first = routes()
    assert routes() == first
    assert len(set(first.values())) == 5
    workers.drain(workers.by_user["user-2"])
    after = routes()
    assert {log for log in logs if first[log] != after[log]} == {log for log in logs if first[log] == "user-2"}
    assert workers.remove("user-3") is not None
    assert not {"user-2", "user-3"} & set(routes().values())
    workers.admit("user-3", "billing", "billing-3", b"chain", 0)
    assert routes() == after
    assert after == routes(Producer("producer-2/2", "producer-2", b"o" * 16))


def test_a_producer_that_names_ever_new_logs_costs_no_memory() -> None:
    workers, _ = pair()
    sender = Producer("producer-2/2", "producer-2", b"o" * 16)
    for number in range(10 * ROUTES):
        assert workers.route(sender, "billing", f"log-{number}") is not None
        assert len(sender.routes) <= ROUTES


def test_a_sink_without_workers_takes_no_log_however_often_it_is_asked_for() -> None:
    workers, worker = pair()
    assert workers.route(SENDER, "archive", "log") is None
    workers.drain(worker)
    assert workers.route(SENDER, "billing", "log") is None
    assert workers.able == {}
