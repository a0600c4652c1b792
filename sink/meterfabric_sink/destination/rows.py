"""Rows of the tables `logs` and `batches` as values, the same in every SQL dialect: a column a field, named alike."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from .base import DestinationRefused, Held, StoredBatch

T = TypeVar("T", bound=msgspec.Struct)

HELD_FIELDS = Held.__struct_fields__
BATCH_FIELDS = tuple(name for name in StoredBatch.__struct_fields__ if name != "payload")

# Quoted, since "of" is a keyword.
HELD_COLUMNS = ", ".join(f'"{name}"' for name in HELD_FIELDS)
BATCH_COLUMNS = ", ".join(f'"{name}"' for name in BATCH_FIELDS)


def held(row: Sequence[object]) -> Held:
    """A row of HELD_COLUMNS as a value. Raises DestinationRefused when the row isn't one of ours."""
    return _value("logs", Held, HELD_FIELDS, row)


def batch(row: Sequence[object]) -> StoredBatch:
    """A row of BATCH_COLUMNS as a value without payload. Raises DestinationRefused when the row isn't one of ours."""
    return _value("batches", StoredBatch, (*BATCH_FIELDS, "payload"), (*row, b""))


def _value(table: str, kind: type[T], fields: Sequence[str], row: Sequence[object]) -> T:
    try:
        # Not strict, since SQLite has no booleans.
        return msgspec.convert(dict(zip(fields, row, strict=True)), kind, strict=False, builtin_types=(bytes,))
    except ValueError as error:
        raise DestinationRefused(f"a row of {table} is damaged: {error}; restore it from a backup") from error


def fields_of(value: Held | StoredBatch) -> tuple[object, ...]:
    """The columns of a value, in the order of HELD_COLUMNS or BATCH_COLUMNS."""
    names = HELD_FIELDS if isinstance(value, Held) else BATCH_FIELDS
    return tuple([getattr(value, name) for name in names])
