"""Whether an object that was found still is what was once applied, as far as the two can be compared.

After a start nothing tells whether somebody changed what was applied before. To apply all of it again would take an API
server minutes where there are thousands; so what was found is compared with what is wanted.
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec

from meterfabric_operator.objects import Object

_NOTHING: tuple[object, ...] = (None, "", [], {})
"""What the API server leaves out where it is written."""


def pack(body: Object) -> bytes:
    """What of an object can be compared, small: it is kept until it was."""
    kept = {name: value for name, value in body.items() if name != "status"}
    kept["metadata"] = {name: body["metadata"].get(name) for name in ("labels", "annotations", "ownerReferences")}
    return zlib.compress(msgspec.json.encode(kept), 1)


def holds(packed: bytes, wanted: Object) -> bool:
    """Whether everything wanted is so. What the API server writes in another way (1000m for 1) counts as different."""
    found = msgspec.json.decode(zlib.decompress(packed))
    metadata = {name: wanted["metadata"].get(name) for name in ("labels", "annotations", "ownerReferences")}
    rest = {name: value for name, value in wanted.items() if name not in ("apiVersion", "kind")}
    return _within({**rest, "metadata": metadata}, found)


def _within(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(_within(value, found.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_within, wanted, found))
    return bool(wanted == found) or (found is None and wanted in _NOTHING)
