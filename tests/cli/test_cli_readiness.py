"""What `local` tells of processes that run and can't do their work."""

from meterfabric_cli.local_fabric.readiness import Readiness


def test_a_process_that_stays_unready_is_told_once_and_so_is_its_return() -> None:
    told: list[str] = []
    readiness = Readiness(told.append)
    for _ in range(10):
        readiness.look("sink billing worker-0", "destination: PostgreSQL: connection refused")
        readiness.look("relay-0", "ready")
    assert told == ["sink billing worker-0 isn't ready: destination: PostgreSQL: connection refused"]
    for _ in range(10):
        readiness.look("sink billing worker-0", "ready")
    assert told[1:] == ["sink billing worker-0 is ready again"]


def test_a_moment_is_told_to_nobody_and_another_reason_is_told_anew() -> None:
    told: list[str] = []
    readiness = Readiness(told.append)
    for health in ("starting", "no relay", "no relay", "ready", "a", "a", "a", "b", "b", "b", "b"):
        readiness.look("x", health)
    assert told == ["x isn't ready: a", "x isn't ready: b"]
