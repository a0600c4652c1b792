"""`meterfabric verify`: does a proof hold? It takes the proof's folder and the trust bundle, and no network."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from meterfabric_cli.arguments import EXIT_NOT, EXIT_WHOLE, Subparsers, add_trust, command
from meterfabric_cli.inputs import read_trust
from meterfabric_cli.proof_check import Verified, Voucher, verify
from meterfabric_cli.proof_folder import ProofFiles
from meterfabric_protocol.errors import ProtocolError


class _Shown(msgspec.Struct):
    source: str | None = None
    id: str | None = None
    type: str | None = None
    subject: str | None = None
    time: str | None = None


_DECODER = msgspec.json.Decoder(_Shown)


def add(commands: Subparsers) -> None:
    """Register the command."""
    parser = command(
        commands,
        "verify",
        "check a proof that `prove` wrote, offline, and say who sent what and when it was received",
        "meterfabric verify proof --trust DIR/trust.pem",
        run,
    )
    parser.add_argument("proof", metavar="OUT", type=Path, help="the folder that prove wrote")
    add_trust(parser)


def run(options: argparse.Namespace) -> int:
    """Verify; 0 where the proof holds, 1 where it doesn't."""
    trust = read_trust(Path(options.trust))
    files = ProofFiles.read(options.proof)
    try:
        shown = verify(files, trust)
    except ProtocolError as error:
        print(f"DOES NOT HOLD: {error}")
        return EXIT_NOT
    print(_told(shown, files.record.leaf))
    return EXIT_WHOLE


def _told(verified: Verified, record: bytes) -> str:
    shown = verified.record
    stated = shown.checkpoint
    lines = [
        ("sent by", verified.producer.subject.spiffe),
        ("log", stated.origin),
        ("place", f"leaf {shown.index}, in the batch [{stated.first}, {stated.size})"),
        *(("vouched", _vouched(voucher)) for voucher in verified.vouchers),
        ("received", f"{shown.time:%Y-%m-%d %H:%M:%S}Z by {shown.sink.subject.spiffe}"),
        ("record", _summary(record)),
    ]
    return "\n".join([*(f"{name:<9} {value}" for name, value in lines), "holds"])


def _vouched(voucher: Voucher) -> str:
    notice = voucher.shown
    by = f"by leaf {notice.index} of the same pod's {notice.checkpoint.origin}: it ends at leaf {voucher.size}"
    return by if voucher.reached else f"{by} (to there it isn't held: its last root is not compared)"


def _summary(record: bytes) -> str:
    try:
        shown = _DECODER.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return f"{len(record)} bytes"
    return "  ".join(f"{name}={value}" for name, value in msgspec.structs.asdict(shown).items() if value is not None)
