"""A real PostgreSQL server of a test's own: made in a temporary folder, reachable on 127.0.0.1 and a Unix socket.

    with PostgresServer.temporary() as server:
        url = server.new_database()
        server.kill()   # SIGKILL of every process of it, as a power cut
        server.start()

Needs Debian's package `postgresql`. PostgreSQL refuses to run as root, so as root the server runs as `postgres`.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg

DEADLINE_SECONDS = 60.0
SUPERUSER = "meterfabric"


def programs() -> Path:
    """The folder of the newest PostgreSQL server programs on this machine."""
    on_path = shutil.which("postgres")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found and on_path is None:
        raise RuntimeError("no PostgreSQL server here: apt-get install -y postgresql")
    return found[-1].parent if found else Path(str(on_path)).parent


class PostgresServer:
    """One cluster in `folder`. `settings` are `name=value` server settings beside the defaults; fsync stays on."""

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        self.folder = folder
        self.port = _free_port()
        self._settings = list(settings)
        self._programs = programs()
        self._user = "postgres" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    @classmethod
    @contextlib.contextmanager
    def temporary(cls, settings: Sequence[str] = (), *, under: str = "/tmp") -> Iterator["PostgresServer"]:
        """A started server that is gone, with its folder, at the end.

        `under` is a short path, since a Unix socket's holds 107 bytes.
        """
        with tempfile.TemporaryDirectory(prefix="mf-pg-", dir=under) as folder:
            server = cls(Path(folder), settings)
            server.create()
            server.start()
            try:
                yield server
            finally:
                server.stop()  # in order, since a killed server leaves its shared memory behind

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """The SINKURL of a database over TCP."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def new_database(self, *, encoding: str = "UTF8") -> str:
        """Create an empty database and return its URL."""
        self._databases += 1
        name = f"test_{self._databases}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            how = f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0" if encoding != "UTF8" else ""
            connection.execute(f'CREATE DATABASE "{name}" {how}'.encode())
        return self.url(name)

    def empty_database(self) -> str:
        """The URL of a database that holds nothing of ours: the same one each time, which is cheaper than a new one."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(b"DROP SCHEMA IF EXISTS meterfabric CASCADE")
        return self.url()

    def create(self) -> None:
        """Make the cluster."""
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._run("initdb", "-D", "data", "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        assert self._process is None
        arguments = ["-D", "data", "-k", str(self.folder), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"]
        for setting in self._settings:
            arguments += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
            )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()}") from None
                time.sleep(0.05)  # between two looks at the condition

    def stop(self) -> None:
        """Shut down in order, cutting off clients ("fast")."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(DEADLINE_SECONDS)
            self._process = None

    def kill(self) -> None:
        """SIGKILL the postmaster and every process under it, and wait until all are gone."""
        if self._process is None:
            return
        children = _children(self._process.pid)
        self._process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait(DEADLINE_SECONDS)
        self._process = None
        deadline = time.monotonic() + DEADLINE_SECONDS
        while any(Path(f"/proc/{child}/cmdline").exists() and _alive(child) for child in children):
            if time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL's processes outlive SIGKILL")
            time.sleep(0.01)  # between two looks at the condition

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self.folder,
            check=True,
            capture_output=True,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        )


def quick_folder() -> str:
    """Where a server starts and stops fastest: in memory, where there is room. SIGKILL loses nothing of it either."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30 else "/tmp"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    return False
