"""As many connections as there are file descriptors for."""

import resource

import pytest

from meterfabric_runtime.descriptors import BESIDE, room_for


class Limits:
    """The process's limits, as a test sets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
        self.now = soft, hard
        monkeypatch.setattr(resource, "getrlimit", lambda _: self.now)
        monkeypatch.setattr(resource, "setrlimit", self._set)

    def _set(self, _: int, limits: tuple[int, int]) -> None:
        self.now = limits


def test_the_soft_limit_is_raised_as_far_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(monkeypatch, 1_024, 1 << 20)
    assert room_for(10_000, 1_000) == 10_000
    assert limits.now == (11_000 + BESIDE, 1 << 20)


def test_under_a_low_hard_limit_fewer_connections_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(monkeypatch, 1_024, 4_096)
    assert room_for(10_000, 1_000) == 4_096 - 1_000 - BESIDE
    assert limits.now == (4_096, 4_096)


@pytest.mark.parametrize("soft", [1 << 20, resource.RLIM_INFINITY])
def test_a_high_limit_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, soft: int) -> None:
    limits = Limits(monkeypatch, soft, soft)
    assert room_for(10_000, 1_000) == 10_000
    assert limits.now == (soft, soft)
