"""The fields that log lines carry: logging raises, there and then, where one has the name of a field of its own."""

import ast
import logging
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("protocol", "runtime", "sidecar", "relay", "sink", "operator", "client", "cli")
# `makeRecord` refuses what a record has, and these two, which formatting adds.
TAKEN = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}


def fields(tree: ast.AST) -> set[str]:
    """The names in every `extra={…}` of a module."""
    return {
        key.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict)
        for key in keyword.value.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def test_a_taken_name_is_found() -> None:
    assert fields(ast.parse("log.info('a', extra={'message': 1, 'relay': 2})")) & TAKEN == {"message"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_log_line_has_a_field_whose_name_is_taken(folder: str) -> None:
    modules = sorted((ROOT / folder).glob("meterfabric_*/**/*.py"))
    assert modules
    for module in modules:
        assert not fields(ast.parse(module.read_text())) & TAKEN, module
