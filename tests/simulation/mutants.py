"""Deliberate bugs, planted one at a time: what a careless change could make of the system.

Each is a patch of one method, and names the faults without which it can't show. `test_mutants` holds that the checker
finds every one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Final
from unittest.mock import patch

from msgspec import structs

from meterfabric_protocol import checkpoint as checkpoints
from meterfabric_protocol.cosignature import cosign
from meterfabric_protocol.delivery.appending import Appender, Change
from meterfabric_protocol.delivery.credit import Pool
from meterfabric_protocol.delivery.cursor import Cursor
from meterfabric_protocol.delivery.examine import Examiner
from meterfabric_protocol.delivery.link import Link
from meterfabric_protocol.delivery.log import Log
from meterfabric_protocol.delivery.outcome import Outcomes
from meterfabric_protocol.delivery.producer import ProducerCore
from meterfabric_protocol.delivery.relay import RelayCore
from meterfabric_protocol.delivery.routes import Routes
from meterfabric_protocol.delivery.sending import Sender
from meterfabric_protocol.delivery.sink import SinkCore
from meterfabric_protocol.delivery.stored import LogUpdate, StoredBatch
from meterfabric_protocol.delivery.upkeep import Upkeep
from meterfabric_protocol.merkle import CompactRange

from . import bugs
from .destination import Destination
from .logs import Logs
from .worker import Worker

Plant = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Mutant:
    """A bug, and the faults that bring it to light."""

    name: str
    plant: Plant
    needs: tuple[str, ...] = ()


def _instead(owner: type, name: str, make: Callable[[Any], Any]) -> Plant:
    """Put what ``make`` makes of a method (or a property's getter) in its place."""

    def plant() -> AbstractContextManager[Any]:
        old = owner.__dict__[name]
        new = property(make(old.fget)) if isinstance(old, property) else make(old)
        return patch.object(owner, name, new)

    return plant


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda _: lambda *arguments, **named: value


# The relay


def _grant_twice(old: Any) -> Any:
    def grants(self: Pool) -> list[tuple[str, int]]:
        before = self.reserved
        found: list[tuple[str, int]] = old(self)
        self.reserved = before
        return found

    return grants


def _free_what_is_in_flight(_: Any) -> Any:
    def close(self: Pool, session: str) -> None:
        account = self.accounts.pop(session, None)
        self._waiting.pop(session, None)
        if account is not None:
            self.reserved -= account.reserved

    return close


def _take_without_credit(_: Any) -> Any:
    def use(self: Pool, session: str, cost: int) -> bool:
        return True

    return use


def _keep_what_is_lost(_: Any) -> Any:
    def lose(self: RelayCore, item: Any) -> list[Any]:
        return []

    return lose


# The sink


def _receipt_for_a_stub(old: Any) -> Any:
    def append(self: Appender, shown: Any, *rest: Any, **named: Any) -> Change:
        change: Change = old(self, shown, *rest, **named)
        if change.answer != "passed":
            return change
        line = cosign(shown.point.text(), self._name, self._key, 1).decode()
        batch: StoredBatch = structs.replace(change.update.batches[-1], cosignature=line)
        return replace(change, update=structs.replace(change.update, batches=(batch,)), answer="receipt")

    return append


def _believe_the_root(old: Any) -> Any:
    def append(self: Appender, shown: Any, *rest: Any, **named: Any) -> Any:
        with patch.object(CompactRange, "root", lambda _: shown.point.root):
            return old(self, shown, *rest, **named)

    return append


def _believe_the_checkpoint(_: Any) -> Any:
    def checkpoint(self: Examiner, note: bytes, origin: str, credential: Any) -> Any:
        return checkpoints.parse(note).checkpoint

    return checkpoint


def _never_again(old: Any) -> Any:
    def change(self: SinkCore, item: Any, held: Any, *rest: Any, **named: Any) -> Any:
        return old(self, item, structs.replace(held, again_to=0), *rest, **named)

    return change


def _always_again(old: Any) -> Any:
    def repeat(self: SinkCore, question: Any, forked: Any, stored: Any, *rest: Any) -> Any:
        with patch.object(Appender, "append", _as_stub(Appender.append)):
            return old(self, question, forked, stored, *rest)

    return repeat


def _as_stub(old: Any) -> Any:
    def append(self: Appender, *arguments: Any, as_stub: bool = False) -> Any:
        return old(self, *arguments, as_stub=True)

    return append


def _heads_fall(old: Any) -> Any:
    def append(self: Appender, *arguments: Any, **named: Any) -> Change:
        change: Change = old(self, *arguments, **named)
        held = structs.replace(change.update.held, head_size=0, head_note=b"")
        return replace(change, update=structs.replace(change.update, held=held))

    return append


# The destination and its worker


def _write_without_comparing(_: Any) -> Any:
    def check(self: Destination, update: LogUpdate) -> None:
        return None

    return check


def _commit_half(old: Any) -> Any:
    def write(self: Destination, update: LogUpdate) -> None:
        if self._random.random() > 0.05:
            old(self, update)

    return write


def _answer_before_the_commit(old: Any) -> Any:
    def commit(self: Worker, updates: Any) -> None:
        if updates and self.random.random() < 0.05:
            return
        old(self, updates)

    return commit


MUTANTS: Final = (
    Mutant(
        "answers to any session and epoch are believed",
        _instead(ProducerCore, "_answered", bugs.any_session),
        ("restored-and-replayed",),
    ),
    Mutant("answers are believed unsigned", _instead(Link, "prove", _always(None)), ("lie",)),
    Mutant(
        "a cursor advances on a position",
        _instead(Outcomes, "_position", bugs.advance_on_position),
        ("roll-back", "lie"),
    ),
    Mutant(
        "a payload is dropped once the first sink has it", _instead(Log, "floor", bugs.floor_of_the_first), ("crash",)
    ),
    Mutant(
        "a payload is dropped before its receipt", _instead(Log, "floor", bugs.floor_of_what_is_sent), ("sink-away",)
    ),
    Mutant("records expire without a notice", _instead(Upkeep, "expire", bugs.expire_in_silence), ("sink-away",)),
    Mutant(
        "what a sink lost is passed over without a notice",
        _instead(Upkeep, "excuse_loss", bugs.lose_in_silence),
        ("sink-restored",),
    ),
    Mutant("damage is passed over without a notice", _instead(Upkeep, "damaged", bugs.damage_in_silence), ("rot",)),
    Mutant("a sink that joins is owed nothing", _instead(Upkeep, "_join", bugs.join_at_the_end), ("sinks-change",)),
    Mutant("every batch may be passed over", _instead(Cursor, "excuses", _always(True)), ("sink-restored",)),
    Mutant("without an answer nothing is sent again", _instead(Routes, "fail", bugs.no_rewind), ("storm",)),
    Mutant("conflicts are waited out", _instead(Outcomes, "of", bugs.ignore_conflicts), ("roll-back",)),
    Mutant("a fork ends where our log does", _instead(Outcomes, "_end", bugs.fork_at_the_sink), ("roll-back",)),
    Mutant(
        "a conflict seen only on a probe raises no alarm",
        _instead(Outcomes, "_conflict_with_head", bugs.probes_tell_nothing),
        ("restored-and-cloned",),
    ),
    Mutant(
        "an equivocation raises no alarm",
        _instead(Outcomes, "of", bugs.equivocate_in_silence),
        ("restored-and-cloned",),
    ),
    Mutant(
        "what a sink lost past the end of a log is not said",
        _instead(Log, "has_lost", bugs.past_the_end_all_is_well),
        ("restored-and-cloned",),
    ),
    Mutant(
        "that a sink holds our log is never proved",
        _instead(Outcomes, "_position", bugs.believe_where_it_is),
        ("restored-and-cloned",),
    ),
    Mutant("the window is not kept", _instead(Sender, "_ready", _always(True)), ("sink-away",)),
    Mutant("a fork repeats nothing", _instead(Logs, "_repeat", bugs.repeat_nothing), ("roll-back",)),
    Mutant("records are answered before they are durable", _instead(Logs, "submit", bugs.answer_at_once), ("crash",)),
    Mutant("damage on the disk is not seen", _instead(Logs, "rot", bugs.unseen_rot), ("rot",)),
    Mutant("an old log is forgotten unfinished", _instead(Upkeep, "tick", bugs.forget_unfinished), ("lose-key",)),
    Mutant("a relay grants the same memory twice", _instead(Pool, "grants", _grant_twice)),
    Mutant("a session's end frees what is in flight", _instead(Pool, "close", _free_what_is_in_flight), ("crash",)),
    Mutant("a relay takes what it never granted", _instead(Pool, "use", _take_without_credit)),
    Mutant("a relay keeps what no worker answers", _instead(RelayCore, "_lose", _keep_what_is_lost), ("worker-crash",)),
    Mutant("a receipt is given for a stub", _instead(Appender, "append", _receipt_for_a_stub), ("rot",)),
    Mutant("a stub needs no permit", _instead(Examiner, "permitted", _always(None)), ("lie",)),
    Mutant("a checkpoint's root is believed", _instead(Appender, "append", _believe_the_root), ("lie",)),
    Mutant("a checkpoint is believed unsigned", _instead(Examiner, "checkpoint", _believe_the_checkpoint), ("lie",)),
    Mutant(
        "a repeated batch is taken twice",
        _instead(SinkCore, "_change", _never_again),
        ("forked-for-one",),
    ),
    Mutant("a repeated batch is always passed over", _instead(SinkCore, "repeat", _always_again), ("forked-for-one",)),
    Mutant("the highest head is not kept", _instead(Appender, "append", _heads_fall)),
    Mutant("a commit compares nothing", _instead(Destination, "check", _write_without_comparing), ("worker-crash",)),
    Mutant("a commit is sometimes half done", _instead(Destination, "_write", _commit_half)),
    Mutant("receipts leave though the commit failed", _instead(Worker, "_commit", _answer_before_the_commit)),
)
