"""Sends numbered lines over a transport of the client until each is accepted or refused for good."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from meterfabric_cli.sending.lines import Line
from meterfabric_client.transport import Accepted, Again, Batch, Outcome, Refused, Transport

_PAUSES = (0.1, 2.0)


class GaveUp(Exception):
    """Nothing was answered for too long; the message says what was tried last."""


@dataclass
class Counts:
    """What became of the lines."""

    accepted: int = 0
    refused: int = 0
    unanswered: int = 0


class Sender:
    """One run. `on_refused(line, reason)` is told each line refused, `on_progress` whenever something was answered.

    `rate`: records a second at most, None for as many as are taken. `patience`: seconds without any answer after which
    it gives up. A batch is sent again with the same bytes, so whatever was accepted before isn't logged twice.
    """

    def __init__(
        self,
        transport: Transport,
        lines: Iterator[Line],
        *,
        batch_records: int,
        batch_bytes: int,
        rate: float | None,
        patience: float,
        on_refused: Callable[[Line, str], None],
        on_progress: Callable[[Counts], None],
    ) -> None:
        self.counts = Counts()
        self._transport = transport
        self._lines = lines
        self._batch_records = batch_records
        self._batch_bytes = batch_bytes
        self._rate = rate
        self._patience = patience
        self._on_refused = on_refused
        self._on_progress = on_progress
        self._next: Line | None = None
        self._ended = False
        self._again: deque[list[Line]] = deque()
        self._out: dict[Batch, list[Line]] = {}
        self._begun = self._answered = time.monotonic()
        self._sent = 0
        self._is_blocked = False
        self._hold = 0.0
        self._pause = _PAUSES[0]
        self._trouble = "not connected, or no credit is given"

    def run(self) -> None:
        """Send everything. Raises GaveUp, with what is unanswered counted."""
        while True:
            wait = self._submit()
            if self._ended and not self._out and not self._again:
                return
            for batch, outcome in self._transport.wait(min(wait, self._patience)):
                self._settle(self._out.pop(batch), outcome)
            self._watch()

    def _watch(self) -> None:
        now = time.monotonic()
        if not self._out and not self._again and not self._is_blocked:
            self._answered = now
        elif now - self._answered > self._patience:
            waiting = [*self._out.values(), *self._again]
            self.counts.unanswered = sum(map(len, waiting))
            raise GaveUp(self._trouble)

    def _submit(self) -> float:
        """Send what may be sent now; seconds to wait for answers."""
        while True:
            now = time.monotonic()
            if now < self._hold:
                return self._hold - now
            room = self._transport.allowance()
            if self._again:
                if not self._send_again(room):
                    return _PAUSES[1]
                continue
            due = self._begun + self._sent / self._rate if self._rate else now
            if now < due and not self._ended:
                return due - now
            if self._ended or (room < self._batch_bytes and self._transport.in_flight):
                return _PAUSES[1]
            batch = self._take(room)
            # With nothing to send though there is more: no connection, or no credit.
            self._is_blocked = not batch and not self._ended
            if not batch:
                return _PAUSES[1]
            self._sent += len(batch)
            self._send(batch)

    def _send_again(self, room: int) -> bool:
        lines = self._again[0]
        if sum(len(line.text) + 1 for line in lines) <= room:
            self._send(self._again.popleft())
            return True
        if not room or self._transport.in_flight or len(lines) == 1:
            return False
        self._halve(self._again.popleft())
        return True

    def _take(self, room: int) -> list[Line]:
        room = min(room, self._batch_bytes)
        most = self._batch_records if self._rate is None else max(1, min(self._batch_records, int(self._rate / 20)))
        taken: list[Line] = []
        while len(taken) < most:
            if self._next is None:
                self._next = next(self._lines, None)
            if self._next is None:
                self._ended = True
                break
            if len(self._next.text) + 1 > room:
                break
            room -= len(self._next.text) + 1
            taken.append(self._next)
            self._next = None
        return taken

    def _send(self, lines: list[Line]) -> None:
        batch = Batch(0, [line.text for line in lines])
        self._out[batch] = lines
        self._transport.submit(batch)

    def _settle(self, lines: list[Line], outcome: Outcome) -> None:
        match outcome:
            case Accepted():
                self.counts.accepted += len(lines)
                self._answered, self._pause = time.monotonic(), _PAUSES[0]
                self._on_progress(self.counts)
            case Again(why, wait):
                self._trouble = why
                self._again.append(lines)
                self._hold = time.monotonic() + (self._pause if wait is None else wait)
                self._pause = min(self._pause * 2, _PAUSES[1])
            case Refused(problem):
                self._answered = time.monotonic()
                index = problem.get("index")
                if isinstance(index, int) and 0 <= index < len(lines):
                    self._refuse(lines, index, outcome)
                elif len(lines) > 1:
                    self._halve(lines)
                else:
                    self._refuse(lines, 0, outcome)

    def _refuse(self, lines: list[Line], index: int, refused: Refused) -> None:
        """Set one line aside; the others go again."""
        if rest := lines[:index] + lines[index + 1 :]:
            self._again.appendleft(rest)
        self.counts.refused += 1
        problem = refused.problem
        field = f"{problem['field']}: " if problem.get("field") else ""
        self._on_refused(lines[index], f"{field}{problem.get('detail') or problem.get('title') or 'refused'}")
        self._on_progress(self.counts)

    def _halve(self, lines: list[Line]) -> None:
        middle = len(lines) // 2
        self._again.appendleft(lines[middle:])
        self._again.appendleft(lines[:middle])
