"""Coverage-guided fuzzing of every decoder: `python -m tests.fuzz --seconds N [TARGET…]`, N seconds each.

What was found on the way is merged into tests/fuzz/corpus, the fewest and smallest inputs that reach the same code.
An input that breaks a decoder is kept in .cache/fuzz and named; once it is mended, its place is in the corpus.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import CORPUS, TARGETS, seeds

WORK = Path(".cache/fuzz")
MAX_INPUT_BYTES = 2048
MAX_KEPT_BYTES = 90_000
"""Of each target, so that the whole corpus stays below a megabyte."""
FLAGS = (f"-max_len={MAX_INPUT_BYTES}", "-timeout=10", "-rss_limit_mb=1024", "-verbosity=0", "-print_final_stats=1")


def main() -> int:
    """Fuzz each target in turn; 1 where any was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long each target is fuzzed")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    arguments = parser.parse_args()
    broken = [name for name in arguments.targets or TARGETS if not fuzz(name, arguments.seconds)]
    print(f"broken: {', '.join(broken)}" if broken else "no decoder was broken")
    return 1 if broken else 0


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz one target and keep what it found; whether the target stood."""
    found, kept = WORK / name, CORPUS / name
    found.mkdir(parents=True, exist_ok=True)
    kept.mkdir(parents=True, exist_ok=True)
    for seed in seeds().get(name, []):
        (found / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    arguments = [f"-max_total_time={seconds}", f"-artifact_prefix={WORK}/{name}-", f"-dict={WORK}/{name}.dict"]
    (WORK / f"{name}.dict").write_text("".join(f'"{word}"\n' for word in words()), encoding="ascii")
    print(f"{name}: {seconds} s", flush=True)
    stood = run(name, *arguments, str(found), str(kept))
    merged = WORK / f"{name}.merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    if run(name, "-merge=1", str(merged), str(kept), str(found)):
        keep(merged, kept)
    return stood


def keep(merged: Path, kept: Path) -> None:
    """Make `kept` the smallest of what is merged, with the regressions that were named by hand."""
    for path in kept.iterdir():
        if "-" not in path.name:
            path.unlink()
    total = 0
    for path in sorted(merged.iterdir(), key=lambda path: (path.stat().st_size, path.name)):
        total += path.stat().st_size
        if total <= MAX_KEPT_BYTES:
            shutil.copy(path, kept / path.name[:16])


def run(name: str, *arguments: str) -> bool:
    """Run libFuzzer; whether it ended well."""
    command = (WORK / f"{name}.sh").absolute()
    command.write_text(f'exec {sys.executable} -m tests.fuzz.engine {name} {command} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return subprocess.run(["sh", str(command), *FLAGS, *arguments], check=False).returncode == 0


def words() -> list[str]:
    """What decoders compare with, which chance alone would seldom spell."""
    return [f"\\x22{word}\\x22" for word in FIELDS.split()] + WORDS.split()


FIELDS = """
    specversion id source type subject time datacontenttype dataschema data data_base64 1.0
    opened continues expired damaged lost-by-sink sink-joined sink-left closed notice v log previous size root heard
    reason again ranges sink cause records age quota
"""
WORDS = r"""
    ce-id: ce-source: ce-type: ce-specversion:1.0 content-type: application/json text/plain charset=utf-8 %C3%A9
    \xe2\x80\x94 \x0a\x0a first\x20 index\x20 extra\x20 c2sp.org/tlog-proof@v1
    MFB\x01 MF\x01 records notices stub none zstd \xc0 \xcf \xdc \xc4 \x91\x91\x91\x91 \xff
    hello welcome refused sinks want grant batch head bye draining unroutable deliver listen reply answered
    \x5cu0000 \x5cud800 \x5cudc00 \x5cn 2026-11-24T06:30:00Z {} [] !{ \x0d\x0a
"""


if __name__ == "__main__":
    sys.exit(main())
