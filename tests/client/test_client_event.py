import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_client import event
from meterfabric_protocol.record import split_lines


def compose(**given: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "source": "/s",
        "type": "cpu",
        "subject": None,
        "data": None,
        "id": None,
        "when": None,
        "extensions": {},
    } | given
    made: dict[str, Any] = json.loads(event.compose(**fields))
    return made


def test_what_is_left_out_is_filled_in() -> None:
    before = datetime.now(UTC)
    made = compose()
    assert made["specversion"] == "1.0"
    assert len(made["id"]) == 32
    assert before <= datetime.fromisoformat(made["time"]) <= datetime.now(UTC)
    assert set(made) == {"specversion", "id", "source", "type", "time"}


def test_what_is_given_is_kept() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    made = compose(subject="c", data={"n": 1}, id="a", when=when, extensions={"region": "eu", "retries": 3})
    assert made == {
        "specversion": "1.0",
        "id": "a",
        "source": "/s",
        "type": "cpu",
        "time": "2026-01-02T03:04:05+01:00",
        "subject": "c",
        "region": "eu",
        "retries": 3,
        "data": {"n": 1},
    }


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"type": ""}, "type"),
        ({"when": datetime(2026, 1, 1)}, "offset"),
        ({"extensions": {"Region": "eu"}}, "'Region'"),
        ({"extensions": {"data": "x"}}, "'data'"),
        ({"extensions": {"specversion": "2"}}, "'specversion'"),
    ],
)
def test_what_cannot_be_a_record_is_refused_at_once(given: Mapping[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        compose(**given)


def test_data_that_json_cannot_hold_is_refused_at_once() -> None:
    with pytest.raises(TypeError):
        compose(data=object())


def test_ids_are_unique_sort_by_time_and_are_version_7() -> None:
    ids = [event.new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert [each[:12] for each in ids] == sorted(each[:12] for each in ids)
    assert {each[12] for each in ids} == {"7"}
    assert {each[16] for each in ids} <= set("89ab")
    assert {len(each) for each in ids} == {32}


def test_a_ready_mapping_gets_only_what_it_lacks() -> None:
    made = json.loads(event.line({"type": "t", "id": "x"}, "/default"))
    assert (made["id"], made["source"], made["specversion"]) == ("x", "/default", "1.0")
    assert made["time"]
    assert json.loads(event.line({"type": "t", "source": "/mine"}, "/default"))["source"] == "/mine"


def test_ready_text_becomes_one_line_and_is_else_unchanged() -> None:
    assert event.line(b'  {"a": 1,\r\n "b":\n2}\n', "/s") == b'{"a": 1,   "b": 2}'
    assert event.line('{"a":"é"}', "/s") == '{"a":"é"}'.encode()
    with pytest.raises(ValueError, match="empty"):
        event.line(b" \n", "/s")


@given(
    st.text(min_size=1, max_size=30).filter(str.isprintable),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
)
def test_whatever_is_composed_is_a_record_to_the_sidecar(subject: str, data: Any) -> None:
    line = event.compose("/s", "cpu", subject, data, None, None, {})
    assert split_lines(line + b"\n").records == [line]
