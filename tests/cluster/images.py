"""An image of one static program, made without any builder of images (OCI Image Specification 1.1, image layout)."""

import gzip
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

HELPER = "meterfabric.io/cluster-helper"
"""The image of the helper program; its tag is the version of that program. It is on every node."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def helper_image(program: Path) -> str:
    """The name of the helper's image."""
    return f"{HELPER}:{program.parent.name.removeprefix('helper-')}"


def archive(name: str, program: Path) -> bytes:
    """A tar archive of an OCI layout: the image NAME, whose only file and entrypoint is the program."""
    layer = _tar({program.name: (program.read_bytes(), 0o755)})
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    packed = gzip.compress(layer, 1, mtime=0)
    files: dict[str, tuple[bytes, int]] = {}

    def blob(kind: str, content: bytes) -> dict[str, Any]:
        files[f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"] = (content, 0o644)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": _digest(content), "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("config.v1+json", _json(config)),
        "layers": [blob("layer.v1.tar+gzip", packed)],
    }
    entry = blob("manifest.v1+json", _json(manifest))
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    files["index.json"] = (_json({"schemaVersion": 2, "manifests": [entry]}), 0o644)
    files["oci-layout"] = (_json({"imageLayoutVersion": "1.0.0"}), 0o644)
    return _tar(files)


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
