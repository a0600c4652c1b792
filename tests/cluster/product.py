"""The images of the Dockerfile at the top of the tree and of examples/, as archives; kept by what they are made of."""

import fcntl
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from tests.cluster import builder, paths
from tests.cluster.build import Say

KEPT = 8
"""How many archives of an image are kept: whoever works on several branches goes back and forth."""
TREE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Image:
    """`name`: as a pod names it; its tag stands for all that it is made of. `archive`: as of `docker save`."""

    name: str
    archive: Path


def targets() -> list[str]:
    """The images that there are: the stages of the Dockerfile that say who runs them."""
    stages = re.split(r"^FROM ", (TREE / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [stage.split()[2] for stage in stages if re.search(r"^USER ", stage, re.MULTILINE)]


def examples() -> list[str]:
    """The images that only examples use, each the stage of its name in a Dockerfile in a folder of its name."""
    return sorted(path.parent.name for path in (TREE / "examples").glob("*/Dockerfile"))


def image(target: str, say: Say) -> Image:
    """The image of the tree as it is, built unless it is there. Raises builder.ImageFailed."""
    if target not in [*targets(), *examples()]:
        raise builder.ImageFailed(f"the Dockerfiles make {', '.join([*targets(), *examples()])}, not {target}")
    paths.images().mkdir(parents=True, exist_ok=True)
    folder = TREE if target in targets() else TREE / "examples" / target
    made = _image(target, folder)
    if made.archive.exists():  # whoever has it need not wait for who builds another
        return made
    with (paths.images() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = _image(target, folder)
        if not made.archive.exists():
            _forget(target)
            builder.build(folder, target, made.name, made.archive, say)
    return made


def context() -> Iterator[Path]:
    """The files that the Dockerfile at the top may copy: what .dockerignore excepts, but what is made of others."""
    lines = (TREE / ".dockerignore").read_text().splitlines()
    made = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    for line in lines:
        if line.startswith("!"):
            place = TREE / line[1:]
            found = sorted(place.rglob("*")) if place.is_dir() else [place]
            yield from (path for path in found if path.is_file() and not _matches(path.relative_to(TREE), made))


def _forget(target: str) -> None:
    archives = sorted(paths.images().glob(f"{target}-*.tar"), key=lambda path: path.stat().st_mtime)
    for older in archives[: -KEPT + 1]:
        older.unlink()


def _matches(path: Path, patterns: list[str]) -> bool:
    return any(fnmatch(part, pattern) for part in path.parts for pattern in patterns)


def _image(target: str, folder: Path) -> Image:
    digest = hashlib.sha256()
    ours = (TREE / "Dockerfile", TREE / ".dockerignore", *context())
    for path in ours if folder == TREE else sorted(folder.iterdir()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(TREE)} {path.stat().st_mode:o} {len(content)}\n".encode() + content)
    tag = digest.hexdigest()[:12]
    return Image(f"meterfabric.io/{target}:{tag}", paths.images() / f"{target}-{tag}.tar")
