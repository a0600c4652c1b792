"""Objects as expressions of CEL, the language of admission policies: literals, with expressions among them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cel:
    """An expression that stands where a value would."""

    text: str


def written(value: object) -> str:
    """``value`` as an expression. Raises TypeError on what has none.

    Kubernetes' CEL wants lists and maps of one type, so what is in them is made dynamic.
    """
    match value:
        case Cel():
            return value.text
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            # JSON's escapes are CEL's too.
            return json.dumps(value)
        case Mapping():
            return "{" + ", ".join(f"{written(name)}: dyn({written(each)})" for name, each in value.items()) + "}"
        case Sequence():
            return "[" + ", ".join(f"dyn({written(each)})" for each in value) + "]"
    raise TypeError(f"no CEL says {value!r}")
