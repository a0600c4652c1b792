"""The list of sinks that a sidecar follows."""

from pathlib import Path

import msgspec
import pytest

from meterfabric_protocol.delivery.effects import SinkPolicy
from meterfabric_sidecar import sinks

POLICIES = (
    SinkPolicy("billing", required=True, when_full="expire-oldest", expiry=None),
    SinkPolicy("archive", required=False, when_full="refuse", expiry=3_600.0),
)


def test_the_list_is_read_as_it_was_written() -> None:
    assert sinks.decode(sinks.encode(POLICIES)) == POLICIES


@pytest.mark.parametrize("text", ["", "{}", '[{"name": 1}]'])
def test_what_is_no_list_of_sinks_is_refused(text: str) -> None:
    with pytest.raises(msgspec.MsgspecError):
        sinks.decode(text)


def test_what_a_newer_operator_says_of_a_sink_is_left_out() -> None:
    (policy,) = sinks.decode('[{"name": "a", "required": false, "whenever": 1}]')
    assert policy == SinkPolicy("a", required=False)


def test_each_change_is_told_once_and_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    told: list[tuple[SinkPolicy, ...]] = []
    path = tmp_path / "sinks.json"
    file = sinks.SinkFile(path, told.append)
    file.look()
    path.write_bytes(sinks.encode(POLICIES))
    file.look()
    file.look()
    path.write_text("[")
    file.look()
    path.write_bytes(sinks.encode(POLICIES[:1]))
    file.look()
    assert told == [POLICIES, POLICIES[:1]]


def test_the_list_given_at_start_holds_until_there_is_a_file(tmp_path: Path) -> None:
    told: list[tuple[SinkPolicy, ...]] = []
    path = tmp_path / "sinks.json"
    file = sinks.SinkFile(path, told.append, given=sinks.encode(POLICIES[:1]))
    file.look()
    path.write_bytes(sinks.encode(POLICIES))
    file.look()
    assert told == [POLICIES[:1], POLICIES]
    with pytest.raises(FileNotFoundError):
        sinks.read(tmp_path / "none", b"")
