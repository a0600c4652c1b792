"""CloudEvents' binary mode: headers and a body become a record."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterfabric_protocol.record import RecordError, from_binary, one

HEADERS = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t"}


def event(headers: dict[str, str], body: bytes = b"") -> dict[str, object]:
    """The event that the record of such a request holds."""
    (kept,) = one(from_binary(HEADERS | headers, body)).records
    found = json.loads(kept)
    assert isinstance(found, dict)
    return found


def test_headers_become_attributes_whatever_their_case() -> None:
    found = event({"CE-Subject": "user-1", "Ce-Traceparent": "00-a", "X-Other": "1", "Host": "h"})
    assert found == {
        "specversion": "1.0",
        "id": "1",
        "source": "s",
        "type": "t",
        "subject": "user-1",
        "traceparent": "00-a",
    }


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%c3%a9%25 100%", "é% 100%"),
        ('"quoted \\"text\\" %41"', 'quoted "text" A'),
        ('"', '"'),
        ("a+b", "a+b"),
        ("  spaced\t", "spaced"),
    ],
)
def test_values_are_unquoted_and_percent_decoded_once(value: str, meant: str) -> None:
    assert event({"ce-subject": value})["subject"] == meant


@pytest.mark.parametrize("value", ["%C0%A0", "%ff", "caf\udce9"])
def test_a_value_that_is_not_utf8_is_refused(value: str) -> None:
    with pytest.raises(RecordError, match="UTF-8") as caught:
        from_binary(HEADERS | {"ce-subject": value}, b"")
    assert (caught.value.index, caught.value.field) == (0, "subject")


@pytest.mark.parametrize("headers", [{"content-type": "text/pl\udce9in"}, {"ce-caf\udce9": "x"}])
def test_bytes_beyond_ascii_in_a_header_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(RecordError, match="not UTF-8"):
        from_binary(HEADERS | headers, b"{}")


@pytest.mark.parametrize("name", ["ce-datacontenttype", "ce-data", "CE-DATA_BASE64"])
def test_data_and_its_type_are_no_headers_of_their_own(name: str) -> None:
    with pytest.raises(RecordError, match="header of its own"):
        from_binary(HEADERS | {name: "x"}, b"")


def test_a_control_character_in_a_header_is_left_to_validation() -> None:
    with pytest.raises(RecordError, match="control character"):
        one(from_binary(HEADERS | {"ce-id": "a%0Ab"}, b""))


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/json", "Application/Vnd.X+JSON", "application/json; charset=utf-8"]
)
def test_json_becomes_data_as_it_is(content_type: str) -> None:
    kept = from_binary(HEADERS | {"Content-Type": content_type}, b'{"a": 1.50,\r\n"b":"\\u0041"}\n')
    assert kept.endswith(b'"data":{"a": 1.50,  "b":"\\u0041"}}')
    assert one(kept).records == [kept]
    assert json.loads(kept)["datacontenttype"] == content_type


@pytest.mark.parametrize("body", [b"{", b'1,"id":"2"', b"", b'"\xff"', b"[" * 100_000 + b"]" * 100_000, b"1 1"])
def test_a_body_that_is_not_the_json_it_says_is_refused(body: bytes) -> None:
    headers = HEADERS | {"content-type": "application/json"}
    if not body:
        assert b'"data"' not in from_binary(headers, body)
        return
    with pytest.raises(RecordError) as caught:
        from_binary(headers, body)
    assert caught.value.field == "data"


@pytest.mark.parametrize("content_type", ["text/plain", 'text/csv; charset="UTF-8"', "TEXT/XML;charset=us-ascii"])
def test_text_becomes_a_string(content_type: str) -> None:
    assert event({"content-type": content_type}, "é\n\0".encode())["data"] == "é\n\0"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("application/octet-stream", b"ab"), ("text/plain", b"\xff"), ("text/plain; charset=latin1", b"a"), ("", b"x")],
)
def test_everything_else_becomes_base64(content_type: str, body: bytes) -> None:
    found = event({"content-type": content_type} if content_type else {}, body)
    assert found["data_base64"] == base64.b64encode(body).decode()
    assert "data" not in found


header = st.dictionaries(
    st.sampled_from(["ce-id", "ce-subject", "ce-x", "ce-", "CE-Ω", "content-type", "other", "ce-specversion"]),
    st.text(st.characters(), max_size=12)
    | st.sampled_from(["application/json", "text/plain", "1.0", '"\\', "%", "%zz"]),
)


@given(header, st.binary(max_size=20) | st.sampled_from([b"{}", b"[1]", b'"a"']))
def test_any_headers_and_body_make_a_record_or_one_error(headers: dict[str, str], body: bytes) -> None:
    with contextlib.suppress(RecordError):
        kept = from_binary(headers, body)
        json.loads(kept)
        one(kept)
