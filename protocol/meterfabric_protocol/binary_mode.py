"""CloudEvents over HTTP in binary mode (protocol binding 1.0.2 section 3.1): headers and a body become one record."""

import base64
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from .record_error import RecordError, shown

_PREFIX: Final = "ce-"
_JSON: Final = re.compile(r"[^/;]+/(?:json|[^;]+\+json)\s*(?:;.*)?", re.IGNORECASE | re.DOTALL)
_TEXT: Final = re.compile(r"\s*text/", re.IGNORECASE)
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii"})
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_FOLDED: Final = bytes.maketrans(b"\r\n", b"  ")
_RAW: Final = msgspec.json.Decoder(msgspec.Raw)


def from_binary(headers: Mapping[str, str], body: bytes) -> bytes:
    """The record that a request in binary mode holds; `record.one` is still to validate it.

    Header names in any case. The body becomes `data` as it is where the content type is JSON, a string where it is
    text in UTF-8, `data_base64` otherwise; an empty body is no data. Raises RecordError for what can't become JSON.
    """
    attributes: dict[str, object] = {}
    content_type = None
    for header, value in headers.items():
        name = header.lower()
        if name == "content-type":
            content_type = value.strip()
        elif name.startswith(_PREFIX):
            attributes[name.removeprefix(_PREFIX)] = _attribute(name, value)
    for barred in ("datacontenttype", "data", "data_base64"):
        if barred in attributes:
            raise RecordError("can't be a header of its own", index=0, field=barred)
    if content_type:
        attributes["datacontenttype"] = content_type
    if body:
        field, data = _data(content_type or "", body)
        attributes[field] = data
    try:
        return msgspec.json.encode(attributes)
    except UnicodeEncodeError as error:
        # Servers hand on bytes beyond ASCII in a header as lone surrogates.
        raise RecordError("a header is not UTF-8", index=0, value=shown(error.object)) from None


def _attribute(name: str, value: str) -> str:
    """A header's value without its quotes (RFC 7230 section 3.2.6) and one round of percent-encoding."""
    text = value.strip(" \t")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = _ESCAPED.sub(r"\1", text[1:-1])
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        field = name.removeprefix(_PREFIX)
        raise RecordError("is not UTF-8 after percent-decoding", index=0, field=field, value=shown(value)) from None


def _data(content_type: str, body: bytes) -> tuple[str, object]:
    if _JSON.fullmatch(content_type):
        try:
            body.decode()
            return "data", msgspec.Raw(bytes(_RAW.decode(body)).translate(_FOLDED))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RecordError(f"is not the JSON that Content-Type says: {error}", index=0, field="data") from None
    charset = _CHARSET.search(content_type)
    if _TEXT.match(content_type) and (charset is None or charset[1].lower() in _UTF8):
        try:
            return "data", body.decode()
        except UnicodeDecodeError:
            pass
    return "data_base64", base64.b64encode(body).decode()
