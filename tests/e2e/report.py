"""An afternoon as a page and a picture."""

from collections import Counter
from pathlib import Path

from bench.report import quantile
from tests.e2e.afternoon import Afternoon
from tests.e2e.picture import draw

PAGE, PICTURE = "afternoon.md", "afternoon.svg"
SOON = 2.0
"""Seconds within which logs of a dead relay are to deliver again, at the 99th percentile."""


def too_slow(spent: Afternoon) -> list[str]:
    """What there is to say against the recovery after relays' deaths."""
    if spent.recovery and quantile(spent.recovery, 0.99) > SOON:
        return [
            f"recovery after a relay's death took {quantile(spent.recovery, 0.99):.2f} s at p99, {SOON:g} s are given"
        ]
    return []


def write(spent: Afternoon, folder: Path) -> None:
    """Write both into a folder that is there."""
    (folder / PAGE).write_text(page(spent))
    (folder / PICTURE).write_text(draw(spent.samples, [(each.kind, each.at, each.until) for each in spent.happened]))


def page(spent: Afternoon) -> str:
    """The page, Markdown."""
    done = [each for each in spent.happened if each.done]
    lines = [
        f"# An afternoon of {spent.seconds / 60:.3g} minutes, seed {spent.seed}",
        "",
        f"![accepted, delivered and pending over time, with the faults]({PICTURE})",
        "",
        f"{spent.pods} pods at a time, {len(done)} faults; {spent.lasted:.0f} s until the verdict.",
        "",
        "**" + ("Balanced." if not spent.verdict.all_wrong else "Not balanced.") + "**",
        *(f"- wrong: {line}" for line in spent.verdict.all_wrong),
        "",
        "| sink | accepted by clients | held | lacking | what its audit says |",
        "|---|---|---|---|---|",
    ]
    for sink in spent.verdict.sinks:
        fates = ", ".join(f"{count:,} {fate}" for fate, count in sorted(sink.fates.items()))
        lines.append(f"| {sink.sink} | {spent.verdict.accepted:,} | {sink.held:,} | {sink.lacking:,} | {fates} |")
    lines += ["", _recovery(spent), "", "| fault | times | seconds in all |", "|---|---|---|"]
    times = Counter(each.kind for each in done)
    for kind, count in sorted(times.items()):
        lasted = sum(each.until - each.at for each in done if each.kind == kind)
        lines.append(f"| {kind} | {count} | {lasted:.0f} |")
    lines += ["", "| from s | to s | fault | |", "|---|---|---|---|"]
    lines += [
        f"| {each.at:.1f} | {each.until:.1f} | {each.kind} | {each.what if each.done else f'not done: {each.what}'} |"
        for each in spent.happened
    ]
    return "\n".join([*lines, ""])


def _recovery(spent: Afternoon) -> str:
    if not spent.recovery:
        return "No relay was killed that had logs on it."
    told = ", ".join(f"{name} {quantile(spent.recovery, q):.2f} s" for name, q in (("p50", 0.5), ("p99", 0.99)))
    return (
        f"Of {len(spent.recovery)} logs on relays that were killed, records were delivered again after {told}, "
        f"at most {spent.recovery[-1]:.2f} s."
    )
