"""A cluster, from nothing to Ready and back to nothing."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.cluster import (
    build,
    cgroups,
    config,
    control,
    images,
    keys,
    machine,
    network,
    node,
    preflight,
    register,
    versions,
)
from tests.cluster.api import Api
from tests.cluster.plan import CONTROL_ADDRESS, Machine, Plan, make_plan
from tests.cluster.register import Entry, Process
from tests.cluster.wait import until

Say = build.Say

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "coredns")
NODE = ("containerd", "kubelet", "kube-proxy")
REGISTRY = f"{CONTROL_ADDRESS}:5000"
SECONDS = 180
"""How long a step of starting may take, on a machine that others use as well."""


class Unfit(Exception):
    """This machine can't run a cluster; the message names each thing that is missing and what to do."""


@dataclass(frozen=True)
class Cluster:
    """One that is up, or is on its way. `programs`: every program built for it, kubectl and helm among them."""

    plan: Plan
    programs: Mapping[str, Path]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl printed. Raises CalledProcessError, whose `stderr` says why."""
        options = [f"--kubeconfig={self.plan.kubeconfig}", f"--cache-dir={self.plan.folder / 'kubectl'}"]
        command = [str(self.programs["kubectl"]), *options, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout

    def load_image(self, archive: Path) -> None:
        """Give every node the images of an archive: an OCI layout's, or one of `docker save` or `podman save`."""

        def load(where: Machine) -> None:
            with archive.open("rb") as file:
                machine.run(where, node.import_images(self.programs), stdin=file.fileno())

        with ThreadPoolExecutor() as pool:
            for _ in pool.map(load, self.plan.workers):
                continue

    def run_registry(self, say: Say) -> str:
        """Run a registry of images in the cluster, in memory; returns HOST:PORT, to which this machine pushes and from
        which every node pulls. It has no TLS."""
        program = build.build_components([versions.registry()], say)["registry"]
        machine.spawn(self.plan.control, "registry", [str(program), REGISTRY], [])
        name = f"127.0.0.1:{self.forward(REGISTRY)}"
        for each in self.plan.workers:
            node.know_registry(each, name, REGISTRY)
        return name

    def start(self, name: str, on: Machine | None = None) -> None:
        """Start one program of the control plane, or of a node. It is not waited for."""
        where = on or self.plan.control
        beside = [self.programs["containerd"].parent]
        machine.spawn(where, name, self._command(name, where), beside)

    def stop(self, name: str, on: Machine | None = None) -> None:
        """Stop one program, and return once it has ended: an API server away, a kubelet that says nothing."""
        machine.stop(on or self.plan.control, self.programs[name])

    def running(self, name: str, on: Machine | None = None) -> bool:
        """Whether that program runs."""
        return machine.running(on or self.plan.control, self.programs[name])

    def forward(self, address: str) -> int:
        """A port of this machine's loopback that leads to HOST:PORT as the control plane sees it, for as long as the
        cluster is up."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            log = self.plan.control.folder / "logs" / "forward.log"
            helper = self.programs["helper"]
            machine.forward(self.plan.control.namespace, helper, listener.fileno(), address, log)
            port: int = listener.getsockname()[1]
        return port

    def _command(self, name: str, on: Machine) -> list[str]:
        program = self.programs[name]
        if name in NODE:
            commands = {
                "containerd": lambda: node.containerd(on, self.programs),
                "kubelet": lambda: node.kubelet(self.plan, on, self.programs),
                "kube-proxy": lambda: node.kube_proxy(on, self.programs),
            }
            return commands[name]()
        return {
            "etcd": control.etcd,
            "kube-apiserver": control.kube_apiserver,
            "kube-controller-manager": control.kube_controller_manager,
            "kube-scheduler": control.kube_scheduler,
            "coredns": control.coredns,
        }[name](self.plan, program)


def up(plan: Plan, say: Say, owner: Process | None = None, jobs: int = 0) -> Cluster:
    """Bring a cluster up, in place of one of the same name; what killed runs left is removed as well.

    `owner`: the process that it is not to outlive for long. `jobs`: as `build.build` takes it.
    Raises Unfit, build.BuildFailed, TimeoutError, CalledProcessError; a cluster that didn't come up is left to be
    looked at, with its logs, until `down`.
    """
    check(preflight.lacks())
    programs = build.build(plan.version, say, jobs)
    sweep(say)
    with register.locked(plan.name):
        _remove(plan.name, plan.folder)
        register.write(Entry(plan.name, plan.version, plan.nodes, str(plan.folder), owner))
        cluster = Cluster(plan, programs)
        _start(cluster, say)
    return cluster


def check(lacks: Sequence[preflight.Lack]) -> None:
    """Raises Unfit where there are any."""
    if lacks:
        listed = "\n".join(f"  {lack.what}: {lack.remedy}" for lack in lacks)
        raise Unfit(f"a cluster can't run here, what is missing is\n{listed}")


def kept(plan: Plan, say: Say) -> Cluster | None:
    """The cluster of this plan if it is up: every program runs, the API server and every node are ready."""
    entry = register.read(plan.name)
    if entry is None or Plan(entry.name, entry.version, entry.nodes, Path(entry.folder)) != plan:
        return None
    cluster = find(plan.name, say)
    if not all(cluster.running(name) for name in CONTROL_PLANE):
        return None
    if not all(cluster.running(name, each) for each in plan.workers for name in NODE):
        return None
    server: str = json.loads(plan.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    api = Api(plan, int(server.rpartition(":")[2]))
    return cluster if api.ready() and api.ready_nodes() == {each.name for each in plan.workers} else None


def down(name: str) -> None:
    """Remove all there is of a cluster; nothing to do where there is none. Raises TimeoutError."""
    with register.locked(name):
        entry = register.read(name)
        _remove(name, Path(entry.folder) if entry else make_plan(name).folder)


def sweep(say: Say) -> None:
    """Remove the clusters whose owners have ended without doing so."""
    for entry in register.entries():
        if entry.abandoned:
            say(f"removing {entry.name}, which a killed run left")
            down(entry.name)


def find(name: str, say: Say) -> Cluster:
    """The cluster of this name that is up. Raises LookupError."""
    entry = register.read(name)
    if entry is None:
        raise LookupError(f"there is no cluster {name}: `python -m tests.cluster up --name {name}` makes one")
    plan = Plan(entry.name, entry.version, entry.nodes, Path(entry.folder))
    return Cluster(plan, build.build(plan.version, say))


@contextmanager
def temporary(name: str, version: str, nodes: int, say: Say) -> Iterator[Cluster]:
    """A cluster for as long as a `with` lasts, removed by the next run where this process is killed."""
    plan = make_plan(f"{name}-{os.getpid()}", version, nodes)
    try:
        yield up(plan, say, register.this_process())
    finally:
        down(plan.name)


def _start(cluster: Cluster, say: Say) -> None:
    began = time.monotonic()
    plan, helper = cluster.plan, cluster.programs["helper"]
    register.make_folder(plan.folder)
    network.make(plan)
    for each in plan.machines:
        machine.start(each, helper)
    keys.make(plan, datetime.now(UTC))
    port = cluster.forward(control.SERVER.removeprefix("https://"))
    _write_files(cluster, port)
    api = Api(plan, port)
    cluster.start("etcd")
    cluster.start("kube-apiserver")
    sandbox = plan.folder / "helper.tar"
    sandbox.write_bytes(images.archive(images.helper_image(helper), helper))
    for each in plan.workers:
        cgroups.make(each)
        cluster.start("containerd", each)
        until(f"containerd answers on {each.name}", SECONDS, partial(_has_containerd, cluster, each))
    cluster.load_image(sandbox)
    until("the API server is ready", SECONDS, api.ready)
    say("the API server is ready")
    for name in CONTROL_PLANE[2:]:
        cluster.start(name)
    for each in plan.workers:
        for name in NODE[1:]:
            cluster.start(name, each)
    wanted = {each.name for each in plan.workers}
    until(f"{', '.join(sorted(wanted))} are Ready", SECONDS, lambda: api.ready_nodes() == wanted)
    until("pods are taken", SECONDS, api.takes_pods)
    took = time.monotonic() - began
    say(f"Kubernetes {plan.version} with {plan.nodes} node(s), up in {took:.0f} s: KUBECONFIG={plan.kubeconfig}")


def _write_files(cluster: Cluster, port: int) -> None:
    plan = cluster.plan
    inside = ["admin", "kube-controller-manager", "kube-scheduler", "kube-proxy", *(each.name for each in plan.workers)]
    for user in inside:
        (plan.keys / f"{user}.kubeconfig").write_text(config.kubeconfig(plan, user, control.SERVER))
    plan.kubeconfig.write_text(config.kubeconfig(plan, "admin", f"https://127.0.0.1:{port}"))
    plan.kubeconfig.chmod(0o600)
    (plan.control.folder / "audit.json").write_text(config.audit())
    (plan.control.folder / "Corefile").write_text(config.corefile(plan.keys / "admin.kubeconfig"))
    runc, plugins = shutil.which("runc"), preflight.cni_plugins()
    if runc is None or plugins is None:
        raise Unfit("runc or the CNI plugins went away")
    for each in plan.workers:
        node.write(plan, each, images.helper_image(cluster.programs["helper"]), runc, plugins)


def _has_containerd(cluster: Cluster, where: Machine) -> bool:
    try:
        machine.run(where, node.list_images(cluster.programs))
    except subprocess.CalledProcessError:
        return False
    return True


def _remove(name: str, folder: Path) -> None:
    for namespace in network.namespaces(name):
        machine.end(namespace)
    for namespace in network.namespaces(name):
        network.remove(namespace)
    cgroups.remove(name)
    if folder.exists():
        shutil.rmtree(folder)
    register.strike(name)
