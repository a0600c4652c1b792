"""The queue: once each, never two workers on one, again after failing, and nothing while nothing may be done."""

import asyncio
from collections.abc import Callable

import pytest

from meterfabric_operator.watching import queue as module
from meterfabric_operator.watching.queue import Queue


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSES", (0.005, 0.02))


class Work:
    """Work that can be held up, and that notes what was done."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.go = asyncio.Event()
        self.go.set()
        self.busy = 0
        self.most = 0
        self.fails = 0

    async def __call__(self, key: str) -> None:
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            await self.go.wait()
            if self.fails:
                self.fails -= 1
                raise RuntimeError("not now")
            self.done.append(key)
        finally:
            self.busy -= 1


async def running(work: Work, *, may: bool = True, workers: int = 4) -> tuple[Queue[str], asyncio.Event, asyncio.Task]:  # type: ignore[type-arg]
    allowed = asyncio.Event()
    if may:
        allowed.set()
    queue: Queue[str] = Queue(work, allowed)
    return queue, allowed, asyncio.create_task(queue.run(workers))


async def test_what_stands_in_it_twice_is_done_once() -> None:
    work = Work()
    queue, may, task = await running(work, may=False)
    queue.add("a")
    queue.add("a")
    queue.add("b")
    await asyncio.sleep(0)
    assert not work.done
    may.set()
    await until(lambda: len(work.done) == 2)
    assert sorted(work.done) == ["a", "b"]
    task.cancel()


async def test_what_is_added_while_it_is_done_is_done_again_by_the_same_worker_only() -> None:
    work = Work()
    work.go.clear()
    queue, _, task = await running(work)
    queue.add("a")
    await until(lambda: work.busy)
    queue.add("a")
    queue.add("a")
    work.go.set()
    await until(lambda: len(work.done) == 2)
    assert work.most == 1
    task.cancel()


async def test_what_fails_is_tried_again() -> None:
    work = Work()
    work.fails = 3
    queue, _, task = await running(work)
    queue.add("a")
    await until(lambda: work.done)
    assert queue.failed == 3
    task.cancel()


async def test_later_is_overtaken_by_now_and_nothing_is_done_twice() -> None:
    work = Work()
    queue, _, task = await running(work)
    queue.add_later("a", 60.0)
    queue.add("a")
    queue.add_later("b", 0.01)
    await until(lambda: len(work.done) == 2)
    assert work.done == ["a", "b"]
    task.cancel()


async def test_nothing_is_begun_once_nothing_may_be_done() -> None:
    work = Work()
    queue, may, task = await running(work, workers=1)
    queue.add("a")
    await until(lambda: work.done)
    may.clear()
    work.go.clear()
    queue.add("b")
    queue.add("c")
    # One worker waits for things already; it may take one that came, and must not take another.
    may.set()
    await until(lambda: work.busy)
    may.clear()
    work.go.set()
    await until(lambda: len(work.done) == 2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert work.done == ["a", "b"]
    task.cancel()
