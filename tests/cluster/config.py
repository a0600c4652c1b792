"""The files that configure a cluster's processes, as values: nothing here touches a disk."""

import json
from pathlib import Path
from typing import Any

from tests.cluster.plan import CONTROL_ADDRESS, PODS, Machine, Plan

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"


def kubeconfig(plan: Plan, file: str, server: str) -> str:
    """For the user whose key and certificate are FILE of the key folder."""
    return _json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": plan.name,
                    "cluster": {"server": server, "certificate-authority": str(plan.keys / "ca.crt")},
                }
            ],
            "users": [
                {
                    "name": file,
                    "user": {
                        "client-certificate": str(plan.keys / f"{file}.crt"),
                        "client-key": str(plan.keys / f"{file}.key"),
                    },
                }
            ],
            "contexts": [{"name": plan.name, "context": {"cluster": plan.name, "user": file}}],
            "current-context": plan.name,
        }
    )


def kubelet(plan: Plan, node: Machine, resolv_conf: Path) -> str:
    """A KubeletConfiguration."""
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": node.address,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(plan.keys / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{node.cgroup}",
            "clusterDNS": [CONTROL_ADDRESS],
            "clusterDomain": "cluster.local",
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            # A developer's disk may be nearly full, and no image may be collected: none can be pulled again.
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "failCgroupV1": False,
            "failSwapOn": False,
            "imageGCHighThresholdPercent": 100,
            "maxPods": 240,
            "resolvConf": str(resolv_conf),
            # How soon a running pod has what changed of its ConfigMaps and Secrets: by itself a minute or two.
            "syncFrequency": "10s",
            "tlsCertFile": str(plan.keys / f"{node.name}.crt"),
            "tlsPrivateKeyFile": str(plan.keys / f"{node.name}.key"),
        }
    )


def kube_proxy(node: Machine, kubeconfig_file: Path) -> str:
    """A KubeProxyConfiguration that leaves alone what belongs to the machine below."""
    return _json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "bindAddress": "0.0.0.0",
            "clientConnection": {"kubeconfig": str(kubeconfig_file)},
            "clusterCIDR": PODS,
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"},
            "hostnameOverride": node.name,
            "iptables": {"localhostNodePorts": False},
            "mode": "iptables",
        }
    )


def cni(node: Machine) -> str:
    """The network of the node's pods: a bridge, and a subnet that the other machines have a route to."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": node.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "hairpinMode": True, "ipMasq": False, "ipam": ipam}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return _json({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]})


def containerd(sandbox: str, runc: str, cni_plugins: str, cni_folder: Path, registries: Path) -> str:
    """config.toml, version 3. `sandbox`: the image of every pod's first process. `registries`: a folder that says, for
    each registry that image names may begin with, where it is; it is read whenever an image is pulled."""
    return f"""version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{sandbox}"

[plugins.'io.containerd.cri.v1.images'.registry]
config_path = "{registries}"

[plugins.'io.containerd.cri.v1.runtime']
# Root may lack CAP_SYS_RESOURCE, and then no process can be made less likely to be killed than it is.
restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{cni_plugins}"]
conf_dir = "{cni_folder}"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{runc}"
"""


def registry(address: str) -> str:
    """hosts.toml of a registry without TLS."""
    return f"""server = "http://{address}"

[host."http://{address}"]
capabilities = ["pull", "resolve"]
"""


def corefile(kubeconfig_file: Path) -> str:
    """The names of the cluster, and no others: it has no way out."""
    return f""".:53 {{
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig_file}
        pods insecure
        ttl 5
    }}
    cache 5
}}
"""


def audit() -> str:
    """An audit policy: what programs in pods write is put down, and of a lease also who is to hold it."""
    pods, theirs = ["system:serviceaccounts"], ["system:serviceaccounts:kube-system"]
    leases = [{"group": "coordination.k8s.io", "resources": ["leases"]}]
    writes = ["create", "update", "patch", "delete", "deletecollection"]
    return _json(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "omitManagedFields": True,
            "rules": [
                {"level": "None", "userGroups": theirs},
                {"level": "Request", "userGroups": pods, "verbs": writes, "resources": leases},
                {"level": "Metadata", "userGroups": pods, "verbs": writes},
                {"level": "None"},
            ],
        }
    )


def _json(value: dict[str, Any]) -> str:
    """Every reader of these files takes JSON for the YAML that it is."""
    return json.dumps(value, indent=2) + "\n"
