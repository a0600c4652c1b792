"""`python -m bench.capacity`: what a fabric takes for so many pods, by the model and the points of docs/capacity.md.

    python -m bench.capacity --pods 20000 --rate 0.5
    python -m bench.capacity --check                       # predictions against what was measured
    python -m bench.capacity --check points.txt            # … and the model's points against another run's
    python -m bench.capacity --write points.txt            # take another run's points into docs/capacity.md

`points.txt` is what `make bench BENCH=scale` printed. Points that it lacks are README's.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.model import DISCOVERY, LARGE, NAMES, SIZE, Costs, Load, Plan, breaks, costs, plan
from bench.points import Point, read
from bench.report import number
from bench.scale.linear import CORES, MOST
from meterfabric_relay.memory_limit import CONNECTION

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "capacity.md"
README = ROOT / "README.md"
NEAR = 1.5
"""What a prediction may be off by, and what machines differ by that are alike."""
PODS = (100, 1_000, 10_000, 100_000, 1_000_000)
RATES = (0.1, 1.0, 10.0)
TOGETHER = 100.0
_BLOCK = r"(<!-- {0} -->\n)(.*?)(<!-- end -->)"


@dataclass(frozen=True)
class Check:
    """Something the model says beside what was measured."""

    name: str
    said: float
    measured: float
    unit: str

    @property
    def holds(self) -> bool:
        """Whether the two are near each other."""
        return max(self.said, self.measured) <= NEAR * min(self.said, self.measured)


def predictions(at: Costs, points: Mapping[str, Point]) -> Iterator[Check]:
    """What the model says of points that it isn't made of."""

    def of(name: str) -> float:
        return points[name].value

    one = at.relay_batch / LARGE + at.relay_byte * SIZE
    yield Check("cpu_relay", one * 1e6, of("cpu_relay"), "us/record")
    every = MOST * CORES / (at.relay_batch + at.relay_byte * SIZE)
    yield Check(f"relays_{MOST}_small", every, of(f"relays_{MOST}_small"), "batches/s")
    taken = (of("curve_handshake") + of("hello_verification")) * 1e-3
    yield Check("connecting_cpu", taken, of("connecting_cpu"), "ms")
    yield Check("producer_memory", CONNECTION / 1024, of("producer_memory"), "KiB")
    yield Check("storm_elsewhere", max(DISCOVERY, of("storm_elsewhere_cpu")), of("storm_elsewhere"), "s")


def points_of(page: str, readme: str) -> dict[str, Point]:
    """The page's points, and README's for those that it lacks."""
    found = re.search(_BLOCK.format("points"), page, re.DOTALL)
    if found is None:
        raise ValueError("docs/capacity.md has no block <!-- points -->")
    return {**read(readme), **read(found[2])}


def table(at: Costs, together: float = 1.0) -> str:
    """What the page shows for round numbers of pods, whose records come so many in a message."""
    lines = [
        "| pods | records/s each | relays | their cores, busy | sink workers | databases | rows/s each | disk a day "
        "| fabrics |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for pods in PODS:
        for rate in RATES:
            it = plan(Load(pods, rate, together=together), at)
            fabrics = f"{it.fabrics} ({it.fabrics_because})" if it.fabrics > 1 else "1"
            lines.append(
                f"| {pods:,} | {rate:g} | {it.relays:,} ({it.relays_because}) | {number(it.relay_cores)} "
                f"| {it.workers:,} ({it.workers_because}) | {it.databases:,} | {it.rows:,.0f} "
                f"| {size(it.disk)} | {fabrics} |"
            )
    return "\n".join(lines) + "\n"


def first_to_break(at: Costs) -> str:
    """What the page shows of limits, in the order in which a fabric of defaults meets them."""
    lines = ["| pods, 1 record/s each | what is full | what helps |", "|---|---|---|"]
    lines += [f"| {number(round(pods))} | {what} | {helps} |" for pods, what, helps in breaks(1.0, at)]
    return "\n".join(lines) + "\n"


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if count < 1000 or unit == "PB":
            return f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError


def write(page: str, measured: str, readme: str) -> str:
    """The page with the points that a run printed, and the tables that follow from them. Raises KeyError."""
    lines = [line for line in measured.splitlines() if re.match(r"[a-z][a-z0-9_]*: ", line)]
    page = _put(page, "points", "```\n" + "\n".join(lines) + "\n```\n")
    at = costs(points_of(page, readme))
    for name, text in (("table", table(at)), ("together", table(at, TOGETHER)), ("breaks", first_to_break(at))):
        page = _put(page, name, text)
    return page


def _put(page: str, name: str, text: str) -> str:
    return re.sub(_BLOCK.format(name), lambda found: found[1] + text + found[3], page, flags=re.DOTALL)


def _tell(it: Plan) -> None:
    print(f"relays: {it.relays:,} (for {it.relays_because}, one more than needed), {it.relay_cores:.2g} cores busy")
    print(f"  {it.sessions:,.0f} sessions each; what replaces one that died has them within {it.storm:.0f} s")
    print(f"sink workers: {it.workers:,} (for {it.workers_because}, likewise), {it.worker_cores:.2g} cores busy")
    print(f"databases: {it.databases:,}, {it.rows:,.0f} rows/s each")
    print(f"disk: {size(it.disk)} a day in all, {size(it.wal)}/s of write-ahead log")
    print(f"fabrics: {it.fabrics:,}" + (f" (for {it.fabrics_because})" if it.fabrics > 1 else ""))


def _check(points: Mapping[str, Point], other: Mapping[str, Point]) -> bool:
    checks = list(predictions(costs(points), points))
    checks += [Check(name, points[name].value, other[name].value, "") for name in NAMES if name in other]
    for each in checks:
        verdict = "" if each.holds else f"  <- more than {NEAR} times apart"
        print(f"{each.name}: {number(each.said)} said, {number(each.measured)} measured {each.unit}".rstrip() + verdict)
    return all(each.holds for each in checks)


def main() -> int:
    """The command; 0 yes, 1 no."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=1.0, help="records a second of each pod")
    parser.add_argument("--size", type=float, default=SIZE, help="bytes of a record")
    parser.add_argument("--together", type=float, default=1.0, help="records that come in one message")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", nargs="?", type=Path, const=PAGE, help="hold the model to measured points")
    what.add_argument("--write", type=Path, help="take the points of this file into the page")
    options = parser.parse_args()
    page, readme = PAGE.read_text(), README.read_text()
    if options.write is not None:
        PAGE.write_text(write(page, options.write.read_text(), readme))
        return 0
    points = points_of(page, readme)
    if options.check is not None:
        other = read(options.check.read_text()) if options.check != PAGE else {}
        return 0 if _check(points, other) else 1
    _tell(plan(Load(options.pods, options.rate, options.size, options.together), costs(points)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
