"""A component's settings as the environment of a container, by the names that `meterfabric_runtime.settings` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from meterfabric_operator.objects import Object


def variables(component: str, settings: Mapping[str, Any]) -> list[Object]:
    """``[{name, value}]``, sorted by name; nested settings are joined by underscores, what is None is left out."""
    return [{"name": name, "value": value} for name, value in sorted(_flat(f"METERFABRIC_{component}", settings))]


def scratch(folder: str) -> Object:
    """Where SQLite puts files that it needs for a moment: nothing else can be written to in our containers."""
    return {"name": "SQLITE_TMPDIR", "value": folder}


def from_field(component: str, **fields: str) -> list[Object]:
    """Variables that the kubelet fills from the pod: setting and path of the field."""
    return [
        {"name": f"METERFABRIC_{component}_{name.upper()}", "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in sorted(fields.items())
    ]


def _flat(prefix: str, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in settings.items():
        variable = f"{prefix}_{name.upper()}"
        if isinstance(value, Mapping):
            found += _flat(variable, value)
        elif isinstance(value, str):
            # A dollar begins a reference to another variable, two of them are one dollar.
            found.append((variable, value.replace("$(", "$$(")))
        elif value is not None:
            found.append((variable, json.dumps(value)))
    return found
