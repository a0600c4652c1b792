"""What a message to a sink shows by itself, whatever the sink holds: its parts, and that they are whose they say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from meterfabric_protocol import checkpoint as checkpoints
from meterfabric_protocol.batch import BatchHeader, Decompress, decode_header, parse_own_note, unpack
from meterfabric_protocol.checkpoint import Checkpoint
from meterfabric_protocol.delivery.credential import Credential, NoCredential, judge_credential
from meterfabric_protocol.delivery.declined import Declined
from meterfabric_protocol.delivery.permit import judge_permit
from meterfabric_protocol.delivery.settings import SinkSettings
from meterfabric_protocol.delivery.stored import UNNAMED, Held
from meterfabric_protocol.delivery.verdict import Incoming
from meterfabric_protocol.errors import Malformed, ProtocolError
from meterfabric_protocol.identity import ChainVerifier


@dataclass(frozen=True)
class Shown:
    """A batch whose header, checkpoint and credential are examined; its leaves are not."""

    item: Incoming
    header: BatchHeader
    point: Checkpoint
    credential: Credential


class Examiner:
    """Reads messages and refuses those that do not show what they must. ``wall`` is Unix seconds throughout."""

    def __init__(self, settings: SinkSettings, verifier: ChainVerifier, decompress: Decompress) -> None:
        self.verifier = verifier
        self._settings = settings
        self._decompress = decompress

    def header(self, item: Incoming) -> BatchHeader:
        """The header of a batch. Raises Declined."""
        try:
            header = decode_header(item.header, self._settings.limits)
        except ProtocolError as error:
            raise Declined("refused", "malformed", str(error)) from error
        if header.origin != item.origin:
            raise Declined("refused", "malformed", f"the envelope says {item.origin}, the header {header.origin}")
        return header

    def credential(self, item: Incoming, held: Held, wall: int) -> Credential:
        """By what right the log is taken. Raises Declined."""
        try:
            return judge_credential(
                item.chain,
                item.origin,
                self.verifier,
                datetime.fromtimestamp(wall, UTC),
                self._settings.fabric,
                vouched=held.final_size != UNNAMED,
            )
        except NoCredential as error:
            raise Declined("refused", error.reason, str(error)) from error

    def checkpoint(self, note: bytes, origin: str, credential: Credential) -> Checkpoint:
        """The checkpoint that the log's key signed. Raises Declined."""
        try:
            signed = parse_own_note(note, origin, self._settings.limits)
            return checkpoints.authenticate(signed, origin, credential.public_key)
        except ProtocolError as error:
            raise Declined("refused", "checkpoint", str(error)) from error

    def permitted(self, item: Incoming, stub: BatchHeader, wall: int) -> None:
        """A relay may have cut off a payload: only the pod's own word lets a batch be passed over. Raises Declined."""
        at, settings = datetime.fromtimestamp(wall, UTC), self._settings
        try:
            judge_permit(bytes(item.payload or b""), stub, settings.name, self.verifier, at, settings.fabric)
        except ProtocolError as error:
            raise Declined("refused", "no-permit", str(error)) from error

    def payload(self, item: Incoming, header: BatchHeader) -> bytes:
        """The leaves of a batch, each followed by a line feed. Raises Malformed."""
        if item.payload is None:
            raise Malformed("batch", f"{header.kind} without a payload")
        return unpack(bytes(item.payload), header, self._decompress)
