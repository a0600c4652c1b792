"""The programs of a node and how each is started."""

from collections.abc import Mapping
from pathlib import Path

from tests.cluster import config
from tests.cluster.plan import Machine, Plan

CTR = ("--address", config.CONTAINERD_SOCKET, "--namespace", "k8s.io")


def write(plan: Plan, node: Machine, sandbox: str, runc: str, cni_plugins: str) -> None:
    """Write the node's files."""
    folder = node.folder
    (folder / "cni").mkdir()
    (folder / "cni" / "pods.conflist").write_text(config.cni(node))
    (folder / "containerd.toml").write_text(
        config.containerd(sandbox, runc, cni_plugins, folder / "cni", folder / "registries")
    )
    (folder / "resolv.conf").write_text("")
    (folder / "kubelet.json").write_text(config.kubelet(plan, node, folder / "resolv.conf"))
    (folder / "kube-proxy.json").write_text(config.kube_proxy(node, plan.keys / "kube-proxy.kubeconfig"))


def know_registry(node: Machine, name: str, address: str) -> None:
    """Let the node pull images whose names begin with NAME/ from a registry without TLS at HOST:PORT."""
    folder = node.folder / "registries" / name
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(config.registry(address))


def containerd(node: Machine, programs: Mapping[str, Path]) -> list[str]:
    """It finds the shim beside itself."""
    return [str(programs["containerd"]), f"--config={node.folder / 'containerd.toml'}"]


def kubelet(plan: Plan, node: Machine, programs: Mapping[str, Path]) -> list[str]:
    """It registers its node by itself."""
    return [
        str(programs["kubelet"]),
        f"--config={node.folder / 'kubelet.json'}",
        f"--kubeconfig={plan.keys / f'{node.name}.kubeconfig'}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
    ]


def kube_proxy(node: Machine, programs: Mapping[str, Path]) -> list[str]:
    """Writes the rules of Services."""
    return [str(programs["kube-proxy"]), f"--config={node.folder / 'kube-proxy.json'}"]


def import_images(programs: Mapping[str, Path]) -> list[str]:
    """Takes images, an archive of an OCI layout or of `docker save`, from its standard input."""
    return [str(programs["ctr"]), *CTR, "images", "import", "-"]


def list_images(programs: Mapping[str, Path]) -> list[str]:
    """Prints the names of the node's images, one a line."""
    return [str(programs["ctr"]), *CTR, "images", "list", "--quiet"]
