"""Settings, filled once at start: a JSON file, then the environment over it, checked against the component's type.

A component describes its settings as one frozen dataclass or msgspec Struct; this module knows no field of any.
The variable of field `spool.quota` of the component `sidecar` is METERFABRIC_SIDECAR_SPOOL_QUOTA.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

T = TypeVar("T")

# A settings file is a page, not a data set.
FILE_BYTES = 1024 * 1024
_SECRET = re.compile(r"secret|password|token|url|key", re.IGNORECASE)
_AT = re.compile(r"^(?P<what>.*) - at `\$\.?(?P<path>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]+)`$")


class SettingsError(Exception):
    """Settings that can't be used: `where` (file or variable), `field` (dotted; empty for the whole), `problem`."""

    def __init__(self, where: str, field: str, problem: str) -> None:
        super().__init__(": ".join(part for part in (where, field, problem) if part))
        self.where = where
        self.field = field
        self.problem = problem


def load(kind: type[T], component: str, *, file: Path | None, environ: Mapping[str, str]) -> T:
    """Fill `kind` from `file` (none: the defaults) and `environ`; the environment wins.

    Raises SettingsError naming the file or the variable, the field, what is wrong with it, and what is known.
    """
    tree = _read(file) if file is not None else {}
    where = str(file) if file is not None else "settings"
    _refuse_unknown(tree, inspect.type_info(kind), where, "")
    _overlay(tree, inspect.type_info(kind), f"METERFABRIC_{component.upper()}", "", environ)
    try:
        return msgspec.convert(tree, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        field, problem = _explain(str(error))
        raise SettingsError(where, field, problem) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(str(file), "", f"can't be read: {error.strerror}") from None
    if len(content) > FILE_BYTES:
        raise SettingsError(str(file), "", f"larger than {FILE_BYTES} bytes")
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(str(file), "", f"not a JSON object: {error}") from None


def _fields(kind: inspect.Type) -> tuple[inspect.Field, ...] | None:
    """The fields of a type that has named ones; looks through `| None`."""
    if isinstance(kind, inspect.Metadata):
        return _fields(kind.type)
    if isinstance(kind, inspect.UnionType):
        inner = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
        return _fields(inner[0]) if len(inner) == 1 else None
    if isinstance(kind, inspect.StructType | inspect.DataclassType):
        return kind.fields
    return None


def _refuse_unknown(tree: Mapping[str, Any], kind: inspect.Type, where: str, path: str) -> None:
    fields = _fields(kind)
    if fields is None:
        return
    known = {field.encode_name: field for field in fields}
    for name, value in tree.items():
        if name not in known:
            raise SettingsError(where, path + name, f"unknown; known here: {', '.join(sorted(known))}")
        if isinstance(value, dict):
            _refuse_unknown(value, known[name].type, where, f"{path}{name}.")


def _overlay(tree: dict[str, Any], kind: inspect.Type, prefix: str, path: str, environ: Mapping[str, str]) -> None:
    for field in _fields(kind) or ():
        name = f"{prefix}_{field.encode_name.upper()}"
        if _fields(field.type) is not None:
            inner = tree.get(field.encode_name)
            branch = dict(inner) if isinstance(inner, dict) else {}
            _overlay(branch, field.type, name, f"{path}{field.encode_name}.", environ)
            if branch:
                tree[field.encode_name] = branch
        elif name in environ:
            tree[field.encode_name] = _from_text(environ[name], field.type, name, path + field.encode_name)


def _from_text(text: str, kind: inspect.Type, variable: str, path: str) -> object:
    """A variable's text as a JSON value of `kind`: numbers and truth values by their text, lists as JSON."""
    bare = kind.type if isinstance(kind, inspect.Metadata) else kind
    members = bare.types if isinstance(bare, inspect.UnionType) else (bare,)
    seen = "(not shown)" if _SECRET.search(path) else repr(text[:60])
    if text == "" and any(isinstance(member, inspect.NoneType) for member in members):
        return None
    for member in members:
        inner = member.type if isinstance(member, inspect.Metadata) else member
        try:
            match inner:
                case inspect.BoolType():
                    return msgspec.convert(text, bool, strict=False)
                case inspect.IntType():
                    return msgspec.convert(text, int, strict=False)
                case inspect.FloatType():
                    return msgspec.convert(text, float, strict=False)
                case inspect.ListType() | inspect.VarTupleType() | inspect.TupleType() | inspect.DictType():
                    return cast(object, msgspec.json.decode(text))
                case inspect.NoneType():
                    continue
                case _:
                    return text
        except msgspec.DecodeError as error:
            raise SettingsError(variable, path, f"{error}, got {seen}") from None
    return text


def _decode(kind: type[Any], value: object) -> object:
    if issubclass(kind, Path) and isinstance(value, str):
        return kind(value)
    # msgspec makes of this its own error, which names the field.
    raise TypeError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")


def _explain(message: str) -> tuple[str, str]:
    """The field and the problem in a message of msgspec's."""
    what, path = message, ""
    if found := _AT.match(message):
        what, path = found["what"], found["path"]
    if missing := _MISSING.match(what):
        return ".".join(part for part in (path, missing["field"]) if part), "required, and not given"
    return path, what
