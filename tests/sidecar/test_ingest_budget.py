import asyncio

import pytest

from meterfabric_sidecar.ingest.budget import Budget


async def hold(budget: Budget, size: int, release: asyncio.Event, order: list[int], patience: float = 10) -> None:
    async with budget.share(size, patience):
        order.append(size)
        await release.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_large_share_is_not_overtaken_by_small_ones() -> None:
    budget, order = Budget(100), list[int]()
    first, rest = asyncio.Event(), asyncio.Event()
    rest.set()
    async with asyncio.TaskGroup() as group:
        group.create_task(hold(budget, 60, first, order))
        await settle()
        group.create_task(hold(budget, 90, rest, order))
        group.create_task(hold(budget, 10, rest, order))
        await settle()
        assert (order, budget.used, budget.waiting) == ([60], 60, 2)
        first.set()
    assert (order, budget.used) == ([60, 90, 10], 0)


async def test_patience_ends_and_those_behind_move_up() -> None:
    budget, order = Budget(100), list[int]()
    release = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(hold(budget, 60, release, order))
        await settle()
        with pytest.raises(TimeoutError):
            await hold(budget, 90, release, order, patience=0.01)
        release.set()
        await hold(budget, 100, release, order)
    assert (order, budget.used, budget.waiting) == ([60, 100], 0, 0)


async def test_a_cancelled_waiter_takes_nothing() -> None:
    budget, order = Budget(100), list[int]()
    release = asyncio.Event()
    holder = asyncio.create_task(hold(budget, 60, release, order))
    await settle()
    waiter = asyncio.create_task(hold(budget, 90, release, order))
    await settle()
    release.set()
    waiter.cancel()
    await asyncio.gather(holder, waiter, return_exceptions=True)
    assert (order, budget.used) == ([60], 0)


async def test_a_share_given_in_the_moment_of_cancellation_is_given_back() -> None:
    budget, order = Budget(100), list[int]()
    release = asyncio.Event()
    holder = asyncio.create_task(hold(budget, 60, release, order))
    await settle()
    waiter = asyncio.create_task(hold(budget, 90, release, order))
    await settle()
    release.set()
    await holder
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert budget.used == 0


async def test_a_share_larger_than_all_is_all() -> None:
    budget = Budget(100)
    async with budget.share(500, 1):
        assert budget.used == 100
    assert budget.used == 0
