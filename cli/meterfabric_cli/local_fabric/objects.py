"""The YAML file that a person writes: one MeteringFabric and its MeteringSinks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from meterfabric_cli.errors import CommandError
from meterfabric_cli.inputs import read_file
from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.fabric import MeteringFabric, MeteringSink, read

_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class Objects:
    """A fabric and its sinks, in the order of the file."""

    fabric: MeteringFabric
    sinks: tuple[MeteringSink, ...]


def read_objects(path: Path) -> Objects:
    """Read a YAML file of several documents. Raises CommandError naming file, object, field and what is wrong."""
    try:
        documents = list(yaml.safe_load_all(read_file(path, _FILE_BYTES)))
    except (yaml.YAMLError, ValueError) as error:
        raise CommandError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    found = []
    for number, document in enumerate(documents, 1):
        if document is None:
            continue
        if not isinstance(document, dict):
            raise CommandError(f"{path}: document {number} is no object with apiVersion, kind, metadata and spec")
        try:
            found.append(read(document))
        except ProtocolError as error:
            raise CommandError(f"{path}: {error}") from error
    return _checked(path, found)


def _checked(path: Path, found: list[MeteringFabric | MeteringSink]) -> Objects:
    fabrics = [each for each in found if isinstance(each, MeteringFabric)]
    sinks = [each for each in found if isinstance(each, MeteringSink)]
    if len(fabrics) != 1:
        raise CommandError(f"{path}: {len(fabrics)} MeteringFabric objects, exactly one is run")
    if not sinks:
        raise CommandError(f"{path}: no MeteringSink object; without a sink nothing can be delivered")
    fabric = fabrics[0]
    names: set[str] = set()
    for sink in sinks:
        where = f"{path}: MeteringSink {sink.metadata.name}"
        if sink.spec.fabric != fabric.metadata.name or sink.metadata.namespace != fabric.metadata.namespace:
            belongs = f"{sink.metadata.namespace}.{sink.spec.fabric}"
            raise CommandError(f"{where}: spec.fabric: is {belongs}, the file's fabric is {fabric.id}")
        postgres = sink.spec.destination.postgres
        if postgres is not None and postgres.url is None:
            raise CommandError(f"{where}: spec.destination.postgres.secretRef: there is no Secret here; write url")
        if sink.metadata.name in names:
            raise CommandError(f"{where}: metadata.name: stands twice")
        names.add(sink.metadata.name)
    return Objects(fabric, tuple(sinks))
