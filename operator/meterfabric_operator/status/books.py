"""The books of fabrics: what each sink holds and lacks, by fate, as its page says it, and summed.

A sink knows of a record once its log's head came by, so these books lag behind the sidecars' own; an audit, which reads
every leaf, stands over them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from meterfabric_operator.objects import Key, Object, to_time
from meterfabric_operator.wanted import FabricFacts
from meterfabric_operator.watching.observed import Observed

FATES: Final = ("delivered", "expired", "damaged", "lost", "missing", "unexplained", "pending", "abandoned")
"""As the page's, without what isn't owed to the sink; `pending` is told apart from `abandoned` here."""
_NAMED: Final = 10
"""So many pods are named that abandoned records."""


class Open(msgspec.Struct, frozen=True):
    """A log that nobody closed, or that isn't all there. `since`: when it was last written, Unix seconds."""

    namespace: str
    pod: str
    uid: str
    pending: int
    since: int


class Page(msgspec.Struct, frozen=True):
    """A sink's page /books."""

    records: dict[str, int]
    open: tuple[Open, ...]


@dataclass(frozen=True)
class Books:
    """Records by fate. `since`: when the longest waiting log was last written, Unix seconds, 0 where nothing waits.

    `unclosed`: logs whose pods were gone before they closed them: they may have taken records of which no sink heard.
    `abandoned_by`: abandoned records by such a pod, NAMESPACE/NAME, those with the most.
    """

    records: Mapping[str, int]
    since: int
    asked: datetime
    unclosed: int = 0
    abandoned_by: Mapping[str, int] = field(default_factory=dict)

    def count(self, fate: str) -> int:
        """Records of one fate."""
        return self.records.get(fate, 0)

    @property
    def oldest(self) -> int:
        """Seconds that the oldest pending record has waited at least."""
        return max(int(self.asked.timestamp()) - self.since, 0) if self.since else 0

    def status(self) -> dict[str, Any]:
        """As a status holds them."""
        return {
            "accepted": sum(self.records.values()),
            **{fate: self.count(fate) for fate in FATES},
            "unclosed": self.unclosed,
            "abandonedBy": [{"pod": pod, "records": count} for pod, count in self.abandoned_by.items()],
            "oldestPending": f"{self.oldest}s",
            "updated": to_time(self.asked),
        }

    def says_as(self, other: Books | None) -> bool:
        """Whether another one holds the same, whenever it was asked."""
        return other is not None and {**self.status(), "updated": ""} == {**other.status(), "updated": ""}


def read(data: bytes) -> Page:
    """Raises ValueError."""
    return msgspec.json.decode(data, type=Page)


def told(page: Page, gone: Iterable[Open], asked: datetime) -> Books:
    """The books that a page tells. ``gone``: the open logs whose pods are gone for good."""
    lost = set(gone)
    left = [each for each in page.open if each.pending and each not in lost]
    abandoned = sum(each.pending for each in lost)
    records = {fate: page.records.get(fate, 0) for fate in FATES}
    records |= {"pending": records["pending"] - abandoned, "abandoned": abandoned}
    by: Counter[str] = Counter()
    for each in lost:
        by[f"{each.namespace}/{each.pod}"] += each.pending
    since = min((each.since for each in left), default=0)
    return Books(records, since, asked, len(lost), dict(by.most_common(_NAMED)))


def summed(books: Iterable[Books]) -> Books | None:
    """Of several sinks; None where there are none."""
    found = list(books)
    if not found:
        return None
    by: Counter[str] = Counter()
    for each in found:
        by.update(each.abandoned_by)
    return Books(
        {fate: sum(each.count(fate) for each in found) for fate in FATES},
        min((each.since for each in found if each.since), default=0),
        max(each.asked for each in found),
        sum(each.unclosed for each in found),
        dict(by.most_common(_NAMED)),
    )


def of_sink(observed: Observed, key: Key) -> Books | None:
    """As last heard, or, before this replica heard anything, as its status says; None where nobody heard of it."""
    heard = observed.books.get(key)
    return heard if heard is not None else _of_status(observed.sinks.get(key) or {})


def of_fabric(observed: Observed, facts: FabricFacts) -> dict[str, Books | None]:
    """Of each of its sinks, by name."""
    return {
        sink.metadata.name: of_sink(observed, Key("MeteringSink", facts.namespace, sink.metadata.name))
        for sink in facts.sinks
    }


def _of_status(body: Object) -> Books | None:
    held = (body.get("status") or {}).get("books") or {}
    try:
        asked = datetime.fromisoformat(held["updated"])
        oldest = timedelta(seconds=int(str(held["oldestPending"]).rstrip("s")))
        records = {fate: int(held[fate]) for fate in FATES}
        unclosed = int(held["unclosed"])
        by = {str(each["pod"]): int(each["records"]) for each in held["abandonedBy"]}
    except (KeyError, TypeError, ValueError):
        return None
    return Books(records, int((asked - oldest).timestamp()) if records["pending"] else 0, asked, unclosed, by)
