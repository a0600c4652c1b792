"""What a log says first: of which other log it says where that one ended."""

from collections.abc import Sequence

from meterfabric_protocol import notice
from meterfabric_protocol.notice import Continues

from .rows import LogRow


def naming(leaves: Sequence[bytes], previous: LogRow) -> list[Continues]:
    """The notices among a log's first `leaves` with which `previous` ended where it did, and what they name of it."""
    begun = [each for each in map(notice.decode, leaves) if isinstance(each, Continues)]
    return [each for each in begun if (each.previous, each.size) == (previous.origin, previous.superseded_at)]
