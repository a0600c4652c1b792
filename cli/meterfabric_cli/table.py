"""Plain tables: columns aligned by spaces, numbers to the right, on a terminal as in a file, but for colours."""

from __future__ import annotations

from collections.abc import Sequence

from meterfabric_cli.colours import painted

Cell = str | int


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]], colours: bool = False) -> str:
    """The lines of a table, each ending in a newline. Integers are written with thousands separated.

    With `colours`, cells that are Painted are.
    """
    texts = [list(heads), *([f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    right = [any(isinstance(row[number], int) for row in rows) for number in range(len(heads))]
    lines = []
    for line in texts:
        cells = [
            text.rjust(width) if to_the_right else text.ljust(width)
            for text, width, to_the_right in zip(line, widths, right, strict=True)
        ]
        cells[-1] = cells[-1].rstrip()
        if colours:
            cells = [painted(cell, text) for cell, text in zip(cells, line, strict=True)]
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)
