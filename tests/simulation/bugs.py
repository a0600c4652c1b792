"""What the deliberate bugs of a sidecar do: its delivery machine, and its shell's part of the rules.

Each makes of a method what `mutants` puts in its place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meterfabric_protocol.delivery import answer as answers
from meterfabric_protocol.delivery import effects as fx
from meterfabric_protocol.delivery.cursor import Cursor
from meterfabric_protocol.delivery.log import Log
from meterfabric_protocol.delivery.outcome import Outcomes
from meterfabric_protocol.delivery.producer import ProducerCore
from meterfabric_protocol.delivery.routes import Routes
from meterfabric_protocol.delivery.upkeep import Upkeep

from .logs import Logs

# The producer


def any_session(old: Any) -> Any:
    def answered(self: ProducerCore, link: Any, body: bytes, signature: bytes, now: float) -> Any:
        answer = answers.read(body)
        cursor = self._cursor(answer.origin, answer.sink)
        if cursor is None:
            return []
        nonce, link.nonce, cursor.epoch = link.nonce, answer.nonce, answer.epoch
        try:
            return old(self, link, body, signature, now)
        finally:
            link.nonce = nonce

    return answered


def advance_on_position(old: Any) -> Any:
    def position(self: Outcomes, log: Log, cursor: Cursor, answer: Any, now: float) -> Any:
        effects = old(self, log, cursor, answer, now)
        if cursor.acked < answer.size <= log.size:
            cursor.acked = cursor.sent = answer.size
        return effects

    return position


def floor_of_the_first(_: Any) -> Any:
    def floor(self: Log) -> int:
        return max((cursor.floor for cursor in self.cursors.values()), default=0)

    return floor


def floor_of_what_is_sent(_: Any) -> Any:
    def floor(self: Log) -> int:
        return min((cursor.sent for cursor in self.cursors.values()), default=0)

    return floor


def expire_in_silence(_: Any) -> Any:
    def expire(self: Upkeep, origin: str, sink: str, size: int, reason: str, now: float) -> list[fx.Effect]:
        log = self.logs.get(origin)
        cursor = log.cursors.get(sink) if log else None
        if log is not None and cursor is not None and size > cursor.floor:
            cursor.excuse(cursor.floor, size)
            return self._drops(log, now)
        return []

    return expire


def lose_in_silence(_: Any) -> Any:
    def excuse_loss(self: Upkeep, log: Log, cursor: Cursor, first: int, size: int) -> list[fx.Effect]:
        cursor.excuse(first, size)
        return []

    return excuse_loss


def damage_in_silence(_: Any) -> Any:
    def damaged(self: Upkeep, origin: str, first: int, size: int, cause: str) -> list[fx.Effect]:
        log = self.logs.get(origin)
        if log is not None:
            log.discard(first)
            for cursor in log.cursors.values():
                cursor.excuse(first, size)
        return self._seal((), list)

    return damaged


def join_at_the_end(_: Any) -> Any:
    def join(self: Upkeep, log: Log, sink: str) -> list[fx.Effect]:
        log.cursors[sink] = Cursor(sink)
        log.cursors[sink].excuse(0, log.size)
        return []

    return join


def no_rewind(_: Any) -> Any:
    def fail(self: Routes, cursor: Cursor, now: float) -> None:
        cursor.deadline = None

    return fail


def ignore_conflicts(old: Any) -> Any:
    def of(self: Outcomes, answer: Any, link: Any, log: Log, cursor: Cursor, now: float) -> Any:
        if answer.kind != "conflict":
            return old(self, answer, link, log, cursor, now)
        cursor.rewind()
        self._routes.back_off(cursor, now)
        return []

    return of


def probes_tell_nothing(_: Any) -> Any:
    def conflict(self: Outcomes, log: Log, cursor: Cursor, answer: Any) -> list[fx.Effect]:
        cursor.known = True
        return []

    return conflict


def equivocate_in_silence(old: Any) -> Any:
    def of(self: Outcomes, *arguments: Any) -> list[fx.Effect]:
        effects: list[fx.Effect] = old(self, *arguments)
        return [each for each in effects if not (isinstance(each, fx.Alarm) and each.word == "equivocation")]

    return of


def believe_where_it_is(old: Any) -> Any:
    def position(self: Outcomes, log: Log, cursor: Cursor, answer: Any, now: float) -> Any:
        effects = old(self, log, cursor, answer, now)
        if cursor.proving:
            cursor.proving, cursor.root = False, cursor.root or answer.root
        return effects

    return position


def past_the_end_all_is_well(_: Any) -> Any:
    def has_lost(self: Log, cursor: Cursor) -> bool:
        return False

    return has_lost


def fork_at_the_sink(old: Any) -> Any:
    def end(self: Outcomes, log: Log, cursor: Cursor, common: int, answer: Any) -> Any:
        log.superseded_at = log.size
        return [fx.Fork(log.origin, log.size, cursor.sink)]

    return end


# The shell's part of the rules


def repeat_nothing(old: Any) -> Any:
    def repeat(self: Logs, batch: Any, kind: str) -> None:
        return None

    return repeat


def answer_at_once(old: Any) -> Any:
    def submit(self: Logs, records: list[bytes]) -> None:
        old(self, records)
        self.world.ledger.answered(self.name, [r for r in records if r in self.world.ledger.records])

    return submit


def unseen_rot(old: Any) -> Any:
    def rot(self: Logs, origin: str, batch: Any) -> None:
        old(self, origin, batch)
        changed = next(each for each in self.disk.logs[origin].batches if each.first == batch.first)
        self.disk.change(origin, batch.first, replace(changed, rotten=False))

    return rot


def forget_unfinished(old: Any) -> Any:
    def tick(self: Upkeep, now: float) -> list[fx.Effect]:
        effects: list[fx.Effect] = old(self, now)
        for log in [log for log in self.logs.values() if not log.active]:
            del self.logs[log.origin]
            effects.append(fx.Forget(log.origin))
        return effects

    return tick
