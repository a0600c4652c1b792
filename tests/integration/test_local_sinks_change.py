"""Sinks that come and go between two starts: what each is owed and what it isn't stands in its own books."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.local_driver import command, events, fabric_yaml, running

pytestmark = pytest.mark.integration

BILLING, ARCHIVE = ("billing", "{sqlite: {}}"), ("archive", "{file: {}}")


def test_a_sink_that_left_for_a_while_is_not_owed_that_while(tmp_path: Path) -> None:
    with running(fabric_yaml(BILLING, relays=1), tmp_path) as local:
        for number, sinks in enumerate(([BILLING], [ARCHIVE], [BILLING, ARCHIVE])):
            if number:
                assert local.stop() == 0
                local.change(fabric_yaml(*sinks, relays=1))
                local.start()
            command("send", "--url", local.state()["http"], "-", stdin=events(1_000, f"round-{number}"))
            local.wait_delivered()
        assert local.stop() == 0
        (producer,) = local.audit("billing")["producers"]
        assert fates(producer) == {"delivered": 2_000, "unowed": 1_000}
        # The archive may be given what the spool still had when it joined, or be told that it isn't owed it.
        (producer,) = local.audit("archive")["producers"]
        assert fates(producer) in ({"delivered": 2_000, "unowed": 1_000}, {"delivered": 3_000})


def fates(producer: dict[str, Any]) -> dict[str, int]:
    """Records by fate, those that there are."""
    return {fate: count for fate, count in producer["records"].items() if count}
