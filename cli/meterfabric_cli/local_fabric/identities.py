"""Keys and certificates of a local fabric: the authority, each sink's key and chain, who the sidecar is."""

from __future__ import annotations

import asyncio
import re
import socket
import uuid
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import load_pem_x509_certificates

from meterfabric_cli.errors import CommandError
from meterfabric_cli.local_fabric.layout import Layout
from meterfabric_cli.local_fabric.objects import Objects
from meterfabric_protocol.names import Producer, Sink, Subject
from meterfabric_protocol.notation import seconds
from meterfabric_runtime.authority import AuthorityError, LocalAuthority, renewal_time
from meterfabric_runtime.authority_desk import Desk
from meterfabric_runtime.csr import EnrolmentRefused, make_csr
from meterfabric_runtime.curve import CurveKeys, to_z85
from meterfabric_runtime.files import SecretFileError, create_secret, read_secret, write_whole
from meterfabric_runtime.roots import Lifetimes

NAMESPACE = "local"
SERVICE_ACCOUNT = "default"
_LOOK_EVERY = 10.0


class _Pod(msgspec.Struct):
    """Who the sidecar is, for good: a folder keeps its name when the machine gets another."""

    pod: str
    uid: str


class Identities:
    """Makes what isn't there yet, and renews what runs out. Raises CommandError where a secret can't be used."""

    def __init__(self, layout: Layout, objects: Objects) -> None:
        self._layout = layout
        spec, fabric = objects.fabric.spec, objects.fabric.id
        pod = _pod(layout.sidecar / "pod.json")
        self.producer = Producer(spec.trust_domain, fabric, NAMESPACE, SERVICE_ACCOUNT, pod.pod, pod.uid)
        self.sinks = [Sink(spec.trust_domain, fabric, sink.metadata.name) for sink in objects.sinks]
        admitted: set[Subject] = {self.producer, *self.sinks}
        lifetime = timedelta(seconds=seconds(spec.identity.certificate_lifetime))
        try:
            self._authority = LocalAuthority(
                layout.authority,
                trust_domain=spec.trust_domain,
                admits=admitted.__contains__,
                clock=lambda: datetime.now(UTC),
                lifetimes=Lifetimes(producer=lifetime, sink=lifetime),
            )
            self._desk = Desk(self._authority)
            self.relay_key = to_z85(CurveKeys.load_or_create(layout.relay_key).public).decode()
            self._keys = {sink.name: _key(layout.sink_key(sink.name)) for sink in self.sinks}
            self.look()
        except (SecretFileError, AuthorityError, EnrolmentRefused) as error:
            raise CommandError(str(error)) from error

    def look(self) -> None:
        """Publish the bundle, and renew each sink's certificate of which a third has passed."""
        bundle = self._authority.bundle()
        if not self._layout.trust.exists() or self._layout.trust.read_bytes() != bundle:
            write_whole(self._layout.trust, bundle, 0o644)
        now = datetime.now(UTC)
        for sink in self.sinks:
            chain = self._layout.sink_chain(sink.name)
            if not _is_fresh(chain, now):
                write_whole(chain, self._authority.issue(make_csr(self._keys[sink.name], sink.spiffe)), 0o644)

    async def serve(self, say: Callable[[str], None]) -> None:
        """Answer the sidecar's requests and keep looking, until cancelled. `say` tells a person what fails."""
        desk = asyncio.create_task(self._keep_on(self._desk.serve, say))
        looking = asyncio.create_task(self._keep_on(self._keep_looking, say))
        try:
            await asyncio.gather(desk, looking)
        finally:
            desk.cancel()
            looking.cancel()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await asyncio.to_thread(self.look)

    async def _keep_on(self, work: Callable[[], Coroutine[Any, Any, None]], say: Callable[[str], None]) -> None:
        """A full disk passes; whoever has a certificate does without us for long."""
        while True:
            try:
                await work()
            except (OSError, AuthorityError) as error:
                say(f"authority: {error}")
                await asyncio.sleep(_LOOK_EVERY)


def make_folders(layout: Layout, sinks: Iterable[str], relays: Iterable[str]) -> None:
    """Make the folders that processes run in. Raises CommandError."""
    folders = [layout.sidecar, *(layout.sink(name) for name in sinks), *(layout.relay(name) for name in relays)]
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--dir: {error.filename}: {error.strerror}") from error


def _pod(path: Path) -> _Pod:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Pod)
    except FileNotFoundError:
        name = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:63].strip("-") or "machine"
        made = _Pod(name, str(uuid.uuid4()))
        write_whole(path, msgspec.json.encode(made) + b"\n", 0o644)
        return made
    except msgspec.MsgspecError as error:
        raise CommandError(f"{path}: {error}; it says which pod the spool beside it belongs to") from error


def _key(path: Path) -> Ed25519PrivateKey:
    fresh = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if not path.exists():
        create_secret(path, fresh)
    try:
        key = load_pem_private_key(read_secret(path), None)
    except (ValueError, TypeError) as error:
        raise SecretFileError(f"{path} is damaged: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SecretFileError(f"{path} has a key that isn't Ed25519")
    return key


def _is_fresh(chain: Path, now: datetime) -> bool:
    try:
        leaf = load_pem_x509_certificates(chain.read_bytes())[0]
    except (FileNotFoundError, ValueError):
        return False
    return now < renewal_time(leaf.not_valid_before_utc, leaf.not_valid_after_utc)
