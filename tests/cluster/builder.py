"""Builds a Dockerfile without a daemon and without a registry.

What its FROM names is made here of Debian's packages, got by the machine's own apt sources; Python's packages come by
the machine's own configuration of pip. So the file that people build is the one that is tested.
"""

import fcntl
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import paths
from tests.cluster.build import Say

APT = Path("/etc/apt")
STORAGE_BYTES = 8 << 30
"""The layers that are kept for the next build; once there are more than these, all are dropped."""

_PROGRAMS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "unshare": "util-linux"}
_CERTIFICATES = "/run/secrets/certificates"
# Of pip's settings, those that say where packages come from and how to get there.
_PIP_SETTINGS = ("index-url", "extra-index-url", "find-links", "trusted-host", "proxy", "default-timeout", "timeout")


class ImageFailed(Exception):
    """An image that wasn't built; the message says why."""


def build(tree: Path, target: str, name: str, archive: Path, say: Say) -> None:
    """Build a target of the tree's Dockerfile and write it to an archive as of `docker save`. Raises ImageFailed."""
    lacking = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if lacking:
        raise ImageFailed(f"images are built with {', '.join(_PROGRAMS)}: apt-get install {' '.join(lacking)}")
    base = base_image((tree / "Dockerfile").read_text())
    with _alone() as scratch:
        storage = paths.images() / "storage"
        if storage.exists() and _size(storage) > STORAGE_BYTES:
            shutil.rmtree(storage)
        workshop = _Workshop(storage, scratch)
        if not workshop.has(base):
            say(f"making {base} of Debian's packages")
            workshop.make_base(base)
        say(f"building {name}")
        workshop.build(tree, target, name)
        made = scratch / "image.tar"
        workshop.save(name, made)
        made.rename(archive)


def push(archive: Path, name: str, to: str) -> None:
    """Push the image NAME of an archive to a registry, as TO. Raises ImageFailed.

    Who may, and which registries do without TLS, is what buildah knows: `buildah login`, registries.conf(5).
    """
    if shutil.which("buildah") is None:
        raise ImageFailed("images are pushed with buildah: apt-get install buildah")
    with _alone() as scratch:
        _Workshop(paths.images() / "storage", scratch).push(archive, name, to)


def base_image(dockerfile: str) -> str:
    """The image that a Dockerfile begins with: the default of its argument DEBIAN."""
    found = re.search(r"^ARG DEBIAN=(\S+:[a-z]+-slim)$", dockerfile, re.MULTILINE)
    if found is None:
        raise ImageFailed("the Dockerfile has no line `ARG DEBIAN=…:SUITE-slim`")
    return found[1]


def pip_configuration(listed: str) -> tuple[str, Path | None]:
    """A pip.conf for a build, and the certificates that it is to have, of what `pip config list` printed.

    As in pip, the environment's settings stand over those of files. Folders of this machine are left out: a build
    sees none.
    """
    settings: dict[str, str] = {}
    found = re.findall(r"^(:env:|global|install)\.([a-z-]+)='(.*)'$", listed, re.MULTILINE)
    for _, name, value in sorted(found, key=lambda setting: setting[0] == ":env:"):
        settings[name] = value
    certificates = settings.get("cert")
    kept = {name: settings[name] for name in _PIP_SETTINGS if name in settings and not settings[name].startswith("/")}
    if certificates is not None:
        kept["cert"] = _CERTIFICATES
    text = "".join(["[global]\n", *(f"{name} = {value}\n" for name, value in kept.items())])
    return text, Path(certificates) if certificates is not None else None


def apt_sources(folder: Path, suite: str) -> list[Path]:
    """The files of an apt configuration that name the suite; none where apt is told of it by other means."""
    found = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.*"))]
    named = [path for path in found if path.suffix in {".list", ".sources"} and path.is_file()]
    return [path for path in named if suite in path.read_text().split()]


@contextmanager
def _alone() -> Iterator[Path]:
    """An empty folder, and nobody else building; what a killed build left in it, such as a pip.conf, is removed."""
    paths.images().mkdir(parents=True, exist_ok=True)
    scratch = paths.images() / "scratch"
    with (paths.images() / "builder.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if scratch.exists():
            shutil.rmtree(scratch)
        scratch.mkdir(mode=0o700)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch)


class _Workshop:
    """buildah with a storage of ours. Its mounts are in a namespace that ends with each command."""

    def __init__(self, storage: Path, scratch: Path) -> None:
        self._scratch = scratch
        (scratch / "run").mkdir()
        private = ["unshare", "--mount", "--propagation=private"]
        self._buildah = [*private, "buildah", f"--root={storage}", f"--runroot={scratch / 'run'}"]

    def has(self, image: str) -> bool:
        return image in _run(self._buildah, "images", "--format={{.Name}}:{{.Tag}}").split()

    def make_base(self, name: str) -> None:
        """Make the image NAME:SUITE-slim: what every Debian has, without what only people read, as in Debian's own."""
        suite = name.rpartition(":")[2].removesuffix("-slim")
        root = self._scratch / "base.tar"
        unread = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "info", "locale", "man")]
        # With its files where they belong it needs no Perl to move them there.
        merged = ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--include=usr-is-merged"]
        sources = [str(path) for path in apt_sources(APT, suite)]
        _run(["mmdebstrap"], "--variant=minbase", *unread, *merged, suite, str(root), *sources)
        container = _run(self._buildah, "from", "scratch").strip()
        _run(self._buildah, "add", "--quiet", container, str(root), "/")
        _run(self._buildah, "config", "--cmd=bash", container)
        _run(self._buildah, "commit", "--quiet", "--rm", container, name)
        root.unlink()

    def build(self, tree: Path, target: str, name: str) -> None:
        """Build and tag it, with the machine's configuration of pip as the secrets that the Dockerfile asks for."""
        listed = _run([sys.executable, "-m", "pip"], "config", "list")
        text, certificates = pip_configuration(listed)
        (self._scratch / "pip.conf").write_text(text)
        secrets = [f"--secret=id=pip,src={self._scratch / 'pip.conf'}"]
        if certificates is not None:
            secrets.append(f"--secret=id=certificates,src={certificates}")
        how = ["--layers", "--isolation=chroot", "--network=host", "--pull-never"]
        _run(self._buildah, "bud", *how, *secrets, f"--target={target}", f"--tag={name}", str(tree))

    def push(self, archive: Path, name: str, to: str) -> None:
        """Push an archive's image, which may have been forgotten here."""
        _run(self._buildah, "pull", "--quiet", f"docker-archive:{archive}")
        _run(self._buildah, "push", "--quiet", name, f"docker://{to}")

    def save(self, name: str, archive: Path) -> None:
        """Write an image to an archive."""
        _run(self._buildah, "push", "--quiet", name, f"docker-archive:{archive}:{name}")


def _run(program: Sequence[str], *arguments: str) -> str:
    """What a command printed. Raises ImageFailed with the end of what it said."""
    done = subprocess.run([*program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr)[-4000:]
        raise ImageFailed(f"{' '.join([*program, *arguments])} ended with {done.returncode}:\n{said}")
    return done.stdout


def _size(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
