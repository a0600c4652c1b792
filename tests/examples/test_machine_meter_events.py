"""The CloudEvents that the meter sends."""

import json
import os
import pwd

from machine_meter.events import TYPE, events, user_name
from machine_meter.proc import Scan, Units
from machine_meter.usage import Usage

UNITS = Units(ticks_per_second=100, page_bytes=4096)
BEFORE, AFTER = Scan(1_800_000_000.25, 100.0, {}), Scan(1_800_000_010.5, 110.25, {})
NOBODY_HERE = 4_000_000_123


def test_an_event_carries_the_interval_and_what_was_used_in_it() -> None:
    (event,) = events(BEFORE, AFTER, {os.getuid(): Usage(123, 4096.4, 7)}, UNITS)
    assert event.type == TYPE
    assert event.subject == pwd.getpwuid(os.getuid()).pw_name
    assert event.time.isoformat() == "2027-01-15T08:00:10.500000+00:00"
    assert event.data == {
        "cpu_seconds": 1.23,
        "memory_byte_seconds": 4096,
        "interval_start": "2027-01-15T08:00:00.250000+00:00",
        "interval_end": "2027-01-15T08:00:10.500000+00:00",
        "processes": 7,
    }
    assert json.loads(json.dumps(event.data)) == event.data


def test_the_same_interval_and_user_give_the_same_id_and_others_another() -> None:
    later = Scan(1_800_000_020.5, 120.25, {})
    usage = {0: Usage(1), NOBODY_HERE: Usage(2)}
    ids = [event.id for event in events(BEFORE, AFTER, usage, UNITS)]
    assert ids == [event.id for event in events(BEFORE, AFTER, usage, UNITS)]
    assert len({*ids, *(event.id for event in events(AFTER, later, usage, UNITS))}) == 4


def test_a_user_without_a_name_is_told_by_number() -> None:
    assert user_name(NOBODY_HERE) == f"uid:{NOBODY_HERE}"
