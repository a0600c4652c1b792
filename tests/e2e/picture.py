"""The picture of an afternoon, an SVG: records over time as lines, faults as bars below, a kind a row."""

from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

from tests.e2e.measured import Sample

_WIDTH, _LEFT, _RIGHT = 1000, 190, 60
_TOP, _HIGH, _ROW = 40, 260, 18
_FONT = 'font-family="sans-serif" font-size="12"'
_LINES: tuple[tuple[str, str, Callable[[Sample], int | None]], ...] = (
    ("accepted", "#1f4e9c", lambda sample: sample.accepted),
    ("in PostgreSQL", "#2e8b57", lambda sample: sample.billing),
    ("in files", "#b8860b", lambda sample: sample.archive),
    ("pending", "#b22222", lambda sample: sample.pending),
)


def draw(samples: Sequence[Sample], faults: Sequence[tuple[str, float, float]]) -> str:
    """The whole file. `faults`: kind, beginning and end in seconds."""
    seconds = max([1.0, *(each.at for each in samples), *(until for _, _, until in faults)])
    most = max([1, *(each.accepted for each in samples)])
    kinds = sorted({kind for kind, _, _ in faults})
    high = _TOP + _HIGH + 40 + _ROW * len(kinds) + 20

    def x(at: float) -> float:
        return _LEFT + at / seconds * (_WIDTH - _LEFT - _RIGHT)

    def y(count: float) -> float:
        return _TOP + _HIGH * (1 - count / most)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {high}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{high}" fill="white"/>',
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        count = most * share
        parts.append(f'<path d="M{_LEFT} {y(count):.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(count) + 4:.1f}" text-anchor="end">{count:,.0f}</text>')
    step = next(each for each in (30, 60, 120, 300, 600, 1_200, 3_600) if seconds / each <= 12 or each == 3_600)
    for at in range(0, int(seconds) + 1, step):
        parts.append(f'<text x="{x(at):.1f}" y="{_TOP + _HIGH + 18}" text-anchor="middle">{at} s</text>')
    for row, kind in enumerate(kinds):
        top = _TOP + _HIGH + 36 + row * _ROW
        parts.append(f'<text x="{_LEFT - 8}" y="{top + 11}" text-anchor="end">{escape(kind)}</text>')
        for _, begun, ended in (each for each in faults if each[0] == kind):
            width = max(2.0, x(ended) - x(begun))
            parts.append(f'<rect x="{x(begun):.1f}" y="{top}" width="{width:.1f}" height="12" fill="#888"/>')
            parts.append(
                f'<rect x="{x(begun):.1f}" y="{_TOP}" width="{width:.1f}" height="{_HIGH}" fill="#000" opacity="0.06"/>'
            )
    for number, (name, colour, value) in enumerate(_LINES):
        parts += [
            f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            for line in _paths(samples, value, x, y)
        ]
        parts.append(f'<text x="{_LEFT + number * 140}" y="24" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _paths(
    samples: Sequence[Sample],
    value: Callable[[Sample], int | None],
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> list[str]:
    """A path wherever there were counts, broken where there were none."""
    made: list[list[str]] = [[]]
    for sample in samples:
        count = value(sample)
        if count is None:
            made.append([])
        else:
            made[-1].append(f"{x(sample.at):.1f} {y(count):.1f}")
    return ["M" + "L".join(each) for each in made if each]
