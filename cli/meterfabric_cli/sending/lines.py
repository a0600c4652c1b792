"""Numbered lines of NDJSON from files and standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from meterfabric_cli.errors import CommandError

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Line:
    """One event: the file it is from, its line number from 1, its bytes without the newline."""

    file: str
    number: int
    text: bytes


def read_lines(files: Sequence[str], most: int, read: Callable[[int], None]) -> Iterator[Line]:
    """The lines of all files in order; empty ones are passed over. `read` is told the bytes taken.

    Raises CommandError for a file that can't be read, or a line of more than `most` bytes.
    """
    for name in files:
        try:
            if name == STDIN:
                yield from _lines("stdin", sys.stdin.buffer, most, read)
            else:
                with open(name, "rb") as stream:
                    yield from _lines(name, stream, most, read)
        except OSError as error:
            raise CommandError(f"{name}: {error.strerror or error}") from error


def _lines(name: str, stream: BinaryIO, most: int, read: Callable[[int], None]) -> Iterator[Line]:
    number = 0
    while line := stream.readline(most + 2):
        number += 1
        read(len(line))
        if len(line) > most + 1 or (len(line) > most and not line.endswith(b"\n")):
            raise CommandError(f"{name}:{number}: a line of more than {most} bytes")
        if text := line.strip():
            yield Line(name, number, text)
