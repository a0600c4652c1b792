"""What waits for a worker, what it has in hand, and who is given what it leaves."""

from meterfabric_protocol import message as m
from meterfabric_protocol.delivery.relayed import Item, Producer, Send
from meterfabric_protocol.delivery.settings import RelaySettings
from meterfabric_protocol.delivery.workers import Worker, Workers

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
    worker.draining = True
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
