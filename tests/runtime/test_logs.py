import io
import json
import logging
from collections.abc import Iterator

import pytest

from meterfabric_runtime import logs


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("relay", "info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def lines(output: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_a_line_has_time_level_component_message_and_the_extra_fields(output: io.StringIO) -> None:
    logging.getLogger("meterfabric_relay.router").warning("peer %s left", "p1", extra={"credit": 5})
    [line] = lines(output)
    assert str(line.pop("time")).endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "meterfabric_relay.router",
        "component": "relay",
        "message": "peer p1 left",
        "credit": 5,
    }


def test_an_exception_stays_in_one_line(output: io.StringIO) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("x").exception("failed")
    [line] = lines(output)
    assert "ValueError: first\nsecond" in str(line["error"])


def test_an_extra_field_that_json_cannot_hold_is_shown_by_its_repr(output: io.StringIO) -> None:
    logging.getLogger("x").info("m", extra={"thing": object, "raw": b"ab"})
    [line] = lines(output)
    assert line["thing"] == "<class 'object'>"


def test_lower_levels_are_left_out(output: io.StringIO) -> None:
    logging.getLogger("x").debug("m")
    assert lines(output) == []


def test_an_unknown_level_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="debug, info, warning, error, not 'loud'"):
        logs.configure("relay", "loud")
