"""The command `meterfabric` called in this process, with what it printed."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from meterfabric_cli.main import main


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """What it printed, as one object."""
        found: dict[str, Any] = json.loads(self.out)
        return found


class Command:
    """Calls the command line."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> Done:
        """Run one command."""
        self._capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = self._capsys.readouterr()
        return Done(code, out, err)
