"""What can go wrong between an application and its sidecar."""

from collections.abc import Mapping
from typing import Any


class MeterError(Exception):
    """Every error of this package."""


class BackPressure(MeterError):
    """The buffer stayed full: the sidecar takes less than is recorded. The record was not taken."""

    def __init__(self, records: int, size: int, waited: float, cause: str) -> None:
        super().__init__(f"{records} records of {size} bytes are pending after {waited:g} s; last trouble: {cause}")
        self.records = records
        self.bytes = size
        self.cause = cause


class Rejected(MeterError):
    """The sidecar refuses this one record for good; `problem` is what it said (RFC 9457), `record` the bytes sent."""

    def __init__(self, record: bytes, problem: Mapping[str, Any]) -> None:
        field = f" ({problem['field']})" if problem.get("field") else ""
        super().__init__(f"{problem.get('title', 'refused')}{field}: {problem.get('detail', '')}")
        self.record = record
        self.problem = problem


class RecordsRejected(MeterError):
    """Some of what was flushed was refused for good; the rest was accepted.

    `errors` holds the first of them, `count` says how many there were.
    """

    def __init__(self, errors: list[Rejected], count: int) -> None:
        super().__init__(f"{count} records were refused; the first: {errors[0]}")
        self.errors = errors
        self.count = count


class Undelivered(MeterError):
    """Not everything was answered in time; what is pending goes on being sent unless the meter was closed."""

    def __init__(self, records: int, cause: str) -> None:
        super().__init__(f"{records} records are unanswered; last trouble: {cause}")
        self.records = records
        self.cause = cause


class Closed(MeterError):
    """The meter was closed and takes no more."""
