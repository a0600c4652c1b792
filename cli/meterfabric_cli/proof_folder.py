"""A proof on disk: files that say who sent a record, when a sink received it, and that it is unaltered.

`record.json` is the record's exact bytes, `record.tlog-proof` its inclusion in its batch's checkpoint with the
producer's signature and the sink's cosignature (c2sp.org/tlog-proof@v1), `producer.pem` and `sink.pem` the certificate
chains of both, leaf first.

Where the record's log had no valid certificate, `producer.pem` is its bare public key, and `voucher-1/` proves in the
same way the notice of a later log of the same pod, `continues.notice`, that names this log and its end;
`end.tlog-proof` is then the record's inclusion in the log's checkpoint at that end. A voucher that had no certificate
either is itself vouched for by `voucher-2/`, and so on.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from meterfabric_cli.errors import CommandError
from meterfabric_cli.inputs import read_file
from meterfabric_protocol import tlog_proof
from meterfabric_protocol.limits import DEFAULT

RECORD, PROOF, PRODUCER, SINK = "record.json", "record.tlog-proof", "producer.pem", "sink.pem"
CONTINUES, CONTINUES_PROOF, END = "continues.notice", "continues.tlog-proof", "end.tlog-proof"
MOST_VOUCHERS = 100
_LEAF_BYTES = 4 << 20


@dataclass(frozen=True)
class Part:
    """The proof of one leaf, as the bytes of its files. `end` is None where its log needs no voucher, ends with the
    leaf's own batch, or isn't held to its end."""

    leaf: bytes
    proof: bytes
    producer: bytes
    sink: bytes
    end: bytes | None = None


@dataclass(frozen=True)
class ProofFiles:
    """The record, and the notices that vouch: each for the log of the part before it."""

    record: Part
    vouchers: tuple[Part, ...] = ()

    def files(self) -> dict[str, bytes]:
        """Content by path below the folder."""
        found = _files("", RECORD, PROOF, self.record)
        for number, voucher in enumerate(self.vouchers, 1):
            found |= _files(f"{_place(Path(), number)}/", CONTINUES, CONTINUES_PROOF, voucher)
        return found

    def write(self, folder: Path) -> None:
        """Write them, making the folder, and remove what an earlier proof left there. Raises CommandError."""
        files = self.files()
        try:
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            for place in (folder, *(_place(folder, number) for number in range(1, MOST_VOUCHERS + 1))):
                if place.is_dir():
                    _remove(place, {folder / name for name in files})
        except OSError as error:
            raise CommandError(f"--out {error.filename or folder}: {error.strerror or error}") from error

    def pack(self) -> bytes:
        """The folder as a tar archive (POSIX.1-2001 pax)."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, content in self.files().items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return packed.getvalue()

    @classmethod
    def unpack(cls, packed: bytes) -> ProofFiles:
        """What `pack` made, in a place that is not trusted. Raises CommandError."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                    archive.extractall(folder, filter="data")
            except (tarfile.TarError, OSError) as error:
                raise CommandError(f"what came is no proof: {error}") from error
            return cls.read(Path(folder))

    @classmethod
    def read(cls, folder: Path) -> ProofFiles:
        """Read them. Raises CommandError."""
        record = _read(folder, RECORD, PROOF)
        vouchers: list[Part] = []
        while (place := _place(folder, len(vouchers) + 1)).is_dir():
            if len(vouchers) == MOST_VOUCHERS:
                raise CommandError(f"{place}: at most {MOST_VOUCHERS} vouchers are read")
            vouchers.append(_read(place, CONTINUES, CONTINUES_PROOF))
        return cls(record, tuple(vouchers))


def _place(folder: Path, number: int) -> Path:
    return folder / f"voucher-{number}"


def _files(below: str, leaf: str, proof: str, part: Part) -> dict[str, bytes]:
    contents = {leaf: part.leaf, proof: part.proof, PRODUCER: part.producer, SINK: part.sink}
    if part.end is not None:
        contents[END] = part.end
    return {below + name: content for name, content in contents.items()}


def _remove(folder: Path, kept: set[Path]) -> None:
    for name in (CONTINUES, CONTINUES_PROOF, PRODUCER, SINK, END):
        if folder / name not in kept:
            (folder / name).unlink(missing_ok=True)
    # Whatever else a person put there stays, and is then told by `verify`.
    with contextlib.suppress(OSError):
        folder.rmdir()


def _read(folder: Path, leaf: str, proof: str) -> Part:
    end = folder / END
    return Part(
        read_file(folder / leaf, _LEAF_BYTES),
        read_file(folder / proof, tlog_proof.MAX_PROOF_BYTES),
        read_file(folder / PRODUCER, DEFAULT.chain_bytes),
        read_file(folder / SINK, DEFAULT.chain_bytes),
        read_file(end, tlog_proof.MAX_PROOF_BYTES) if end.exists() else None,
    )
