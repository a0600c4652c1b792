"""What commands are given, read and checked: trust bundles, SINKURLs, small files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meterfabric_cli.errors import CommandError
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.identity import BUNDLE_BYTES, TrustBundle
from meterfabric_sink.destination.base import DestinationError
from meterfabric_sink.destination.open import shown_url
from meterfabric_sink.evidence import Evidence, open_evidence


def read_file(path: Path, max_bytes: int) -> bytes:
    """A file of at most so many bytes. Raises CommandError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from error
    if len(data) > max_bytes:
        raise CommandError(f"{path}: longer than {max_bytes} bytes")
    return data


def read_trust(path: Path) -> TrustBundle:
    """The trust bundle at `path`. Raises CommandError."""
    try:
        return TrustBundle(read_file(path, BUNDLE_BYTES))
    except CommandError as error:
        raise CommandError(f"--trust {error}; `local` writes DIR/trust.pem") from error
    except Malformed as error:
        raise CommandError(f"--trust {path}: {error}") from error


@contextmanager
def sink(url: str) -> Iterator[Evidence]:
    """What the sink at `url` holds. What goes wrong with it while it is read is a CommandError."""
    try:
        with open_evidence(url) as evidence:
            yield evidence
    except DestinationError as error:
        raise CommandError(f"--sink {shown_url(url)}: {error}") from error
    except ImportError as error:
        raise CommandError(f"--sink {shown_url(url)}: {error}; install meterfabric[postgres]") from error
    except ValueError as error:
        if "SINKURL" in str(error) or str(error).startswith("sink URL"):
            raise CommandError(f"--sink: {error}") from error
        raise
