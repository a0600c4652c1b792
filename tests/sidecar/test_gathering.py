"""When a batch closes, and what goes into it."""

import asyncio

from meterfabric_protocol.record import Split
from meterfabric_sidecar.gathering import Gathering, IntakeSettings, Submission


def submission(records: int, size: int = 0) -> Submission:
    loop = asyncio.get_running_loop()
    split = Split(b"x" * (size or records), ["k"] * records, b"h" * 32 * records)
    return Submission(split, loop.create_future())


async def test_a_batch_is_full_at_its_records_or_its_bytes() -> None:
    gathering = Gathering(IntakeSettings(max_records=10, max_bytes=100))
    gathering.add(submission(9))
    assert not gathering.full
    gathering.add(submission(1))
    assert gathering.full
    other = Gathering(IntakeSettings(max_records=10, max_bytes=100))
    other.add(submission(1, 100))
    assert other.full


async def test_submissions_are_taken_in_order_and_never_split() -> None:
    gathering = Gathering(IntakeSettings(max_records=10, max_bytes=1000))
    waiting = [submission(n) for n in (4, 5, 3, 30, 1)]
    for each in waiting:
        gathering.add(each)
    assert gathering.take() == waiting[:2]
    assert gathering.take() == waiting[2:3]
    # Larger than a batch should be: alone.
    assert gathering.take() == waiting[3:4]
    assert gathering.take() == waiting[4:]
    assert (len(gathering), gathering.bytes) == (0, 0)


async def test_it_is_complete_when_as_many_came_as_last_time() -> None:
    gathering = Gathering(IntakeSettings())
    gathering.add(submission(1))
    assert gathering.complete
    gathering.add(submission(1))
    gathering.take()
    gathering.add(submission(1))
    assert not gathering.complete
    gathering.add(submission(1))
    assert gathering.complete


async def test_clearing_gives_back_all() -> None:
    gathering = Gathering(IntakeSettings())
    waiting = [submission(2), submission(3)]
    for each in waiting:
        gathering.add(each)
    assert gathering.clear() == waiting
    assert (len(gathering), gathering.bytes, gathering.full) == (0, 0, False)
