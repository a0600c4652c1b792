"""Where a sidecar is, as people write it."""

import pytest

from meterfabric_client.transport import Address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1", Address("http", "127.0.0.1", 8280, "")),
        ("http://127.0.0.1:9/", Address("http", "127.0.0.1", 9, "")),
        # As `local` prints it.
        ("http://127.0.0.1:8280/api/v1/events", Address("http", "127.0.0.1", 8280, "")),
        ("http://host/prefix/api/v1/events/", Address("http", "host", 8280, "/prefix")),
        ("tcp://127.0.0.1", Address("tcp", "127.0.0.1", 8281, "")),
    ],
)
def test_an_address_is_read(url: str, address: Address) -> None:
    assert Address.parse(url) == address


@pytest.mark.parametrize("url", ["127.0.0.1:8280", "https://127.0.0.1", "http://", "tcp://127.0.0.1/x", "http://me@h"])
def test_another_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=url):
        Address.parse(url)
