"""The records that are measured are what they are said to be."""

import json

import pytest

from bench.events import Events


def test_every_event_has_the_size_asked_for_and_is_one_line() -> None:
    body = Events(per_message=50, size=300, stream=1).message(7)
    assert body.endswith(b"\n")
    assert {len(line) for line in body.splitlines()} == {300}
    assert len(body.splitlines()) == 50


def test_ids_are_unique_over_messages_and_streams() -> None:
    ids = [
        json.loads(line)["id"]
        for stream in (1, 2)
        for body in Events(20, 300, stream).messages(5)
        for line in body.splitlines()
    ]
    assert len(set(ids)) == len(ids) == 200


def test_a_message_is_the_same_each_time_it_is_made() -> None:
    assert Events(5, 280, 3).message(4) == Events(5, 280, 3).message(4)


def test_a_size_too_small_for_the_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 100"):
        Events(1, 100, 1)
