"""The schemas in crds/ and the types that read the same objects say the same: fields, defaults, limits."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from msgspec import inspect

from meterfabric_protocol.fabric import API_VERSION, MeteringFabric, MeteringSink, read
from meterfabric_protocol.fabric_spec import Autoscaling, FabricSpec, SinkSpec

ROOT = Path(__file__).resolve().parents[2]
CRDS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")}
KINDS = {"meteringfabrics": (MeteringFabric, FabricSpec), "meteringsinks": (MeteringSink, SinkSpec)}


def version(name: str) -> dict[str, Any]:
    (found,) = CRDS[name]["spec"]["versions"]
    assert isinstance(found, dict)
    return found


def schema(name: str) -> dict[str, Any]:
    found = version(name)["schema"]["openAPIV3Schema"]
    assert isinstance(found, dict)
    return found


def spec(name: str) -> dict[str, Any]:
    found = schema(name)["properties"]["spec"]
    assert isinstance(found, dict)
    return found


def said(kind: inspect.Type) -> dict[str, Any]:
    """A type as a schema says it: without descriptions, and rules."""
    match kind:
        case inspect.Metadata():
            return said(kind.type)
        case inspect.UnionType():
            (one,) = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
            return said(one)
        case inspect.StructType():
            made = {
                "type": "object",
                "properties": {field.encode_name: said(field.type) | default(field) for field in kind.fields},
            }
            required = [field.encode_name for field in kind.fields if field.required]
            return made | ({"required": required} if required else {})
        case inspect.VarTupleType():
            return {
                "type": "array",
                "minItems": kind.min_length,
                "maxItems": kind.max_length,
                "items": said(kind.item_type),
                "x-kubernetes-list-type": "atomic",
            }
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            return {"type": "integer", "minimum": kind.ge, "maximum": kind.le}
        case inspect.LiteralType():
            return {"type": "string", "enum": sorted(kind.values, key=str)}
        case inspect.StrType():
            limits = {"minLength": kind.min_length, "maxLength": kind.max_length, "pattern": kind.pattern}
            return {"type": "string"} | {name: value for name, value in limits.items() if value is not None}
    raise AssertionError(f"no schema says {kind}")


def default(field: inspect.Field) -> dict[str, Any]:
    value = field.default if field.default is not msgspec.NODEFAULT else None
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is None:
        return {}
    if not isinstance(value, msgspec.Struct):
        return {"default": value}
    # An object's default is {}, which takes the defaults of its fields, or the fields in which it differs from them.
    plain = msgspec.to_builtins(type(value)())
    return {"default": {name: each for name, each in msgspec.to_builtins(value).items() if each != plain[name]}}


def bare(node: Any) -> Any:
    """A schema without what only people and the API server read."""
    if not isinstance(node, dict):
        return node
    skipped = {"description", "format", "x-kubernetes-validations"}
    kept = {name: value for name, value in node.items() if name not in skipped}
    if "enum" in kept:
        kept["enum"] = sorted(kept["enum"])
    if "properties" in kept:
        kept["properties"] = {name: bare(value) for name, value in kept["properties"].items()}
    if "items" in kept:
        kept["items"] = bare(kept["items"])
    return kept


def settled(node: dict[str, Any], over: dict[str, Any] | None = None) -> Any:
    """The defaults of a schema, filled in from the outside to the inside as the API server does."""
    if node.get("type") != "object":
        return node.get("default")
    if over is None:
        over = node.get("default")
    if over is None and "default" not in node:
        return None
    return {name: (over or {}).get(name, settled(each)) for name, each in node["properties"].items()}


def without_defaults(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    kept = {name: value for name, value in node.items() if name != "default"}
    if "properties" in kept:
        kept["properties"] = {name: without_defaults(value) for name, value in kept["properties"].items()}
    return kept


def nodes(node: dict[str, Any], path: str = "spec") -> list[tuple[str, dict[str, Any]]]:
    found = [(path, node)]
    for name, each in node.get("properties", {}).items():
        found += nodes(each, f"{path}.{name}")
    if "items" in node:
        found += nodes(node["items"], f"{path}[]")
    return found


@pytest.mark.parametrize("name", KINDS)
def test_a_schema_has_the_fields_and_limits_of_its_type(name: str) -> None:
    told, known = without_defaults(bare(spec(name))), without_defaults(said(inspect.type_info(KINDS[name][1])))
    assert told == known


def test_an_empty_fabric_gets_the_same_defaults_from_both() -> None:
    assert settled(bare(spec("meteringfabrics")) | {"default": {}}) == msgspec.to_builtins(FabricSpec())


def test_autoscaling_gets_the_same_defaults_from_both() -> None:
    node = bare(spec("meteringfabrics"))["properties"]["relay"]["properties"]["autoscaling"]
    made = msgspec.to_builtins(Autoscaling(max_replicas=9), builtin_types=())
    assert settled(node | {"default": {"maxReplicas": 9}}) == json.loads(msgspec.json.encode(made))


@pytest.mark.parametrize("destination", [{"sqlite": {}}, {"file": {}}, {"postgres": {"secretRef": {"name": "db"}}}])
def test_a_sink_gets_the_same_defaults_from_both(destination: dict[str, Any]) -> None:
    read_ = msgspec.to_builtins(msgspec.convert({"fabric": "demo", "destination": destination}, SinkSpec))
    properties = bare(spec("meteringsinks"))["properties"]
    for field in ("required", "whenFull", "workers", "resources"):
        assert settled(properties[field]) == read_[field]
    (kind,) = destination
    chosen = properties["destination"]["properties"][kind]
    for name, each in chosen["properties"].items():
        given = destination[kind].get(name)
        merged = {**(settled(each | {"default": {}}) or {}), **given} if given is not None else settled(each)
        assert merged == read_["destination"][kind][name]


@pytest.mark.parametrize("name", CRDS)
def test_every_field_says_what_it_is(name: str) -> None:
    silent = [path for path, node in nodes(spec(name)) if not node.get("description")]
    assert not silent


@pytest.mark.parametrize("name", CRDS)
def test_every_rule_names_a_field_and_says_what_to_write(name: str) -> None:
    for path, node in nodes(schema(name), ""):
        for rule in node.get("x-kubernetes-validations", []):
            assert ": " in rule["message"], path
            assert len(rule["message"]) > 30, path


@pytest.mark.parametrize("name", CRDS)
def test_both_kinds_have_status_scale_categories_and_columns(name: str) -> None:
    names = CRDS[name]["spec"]["names"]
    assert names["categories"] == ["meterfabric"]
    assert names["shortNames"]
    assert set(version(name)["subresources"]) == {"status", "scale"}
    assert {column["name"] for column in version(name)["additionalPrinterColumns"]} >= {"Ready", "Pending", "Age"}
    assert f"{CRDS[name]['spec']['group']}/{version(name)['name']}" == API_VERSION


def test_the_example_is_read_and_has_both_kinds() -> None:
    documents = list(yaml.safe_load_all((ROOT / "examples" / "fabric.yaml").read_text()))
    assert {type(read(document)) for document in documents} == {MeteringFabric, MeteringSink}
