"""The programs of the control plane and how each is started."""

from pathlib import Path

from tests.cluster import versions
from tests.cluster.plan import API_PORT, CONTROL_ADDRESS, SERVICES, Plan

ETCD = "http://127.0.0.1:2379"
SERVER = f"https://{CONTROL_ADDRESS}:{API_PORT}"


def etcd(plan: Plan, program: Path) -> list[str]:
    """It listens inside the control machine only, where nobody else is, and doesn't wait for disks."""
    peers = "http://127.0.0.1:2380"
    return [
        str(program),
        f"--data-dir={plan.control.folder / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
    ]


def kube_apiserver(plan: Plan, program: Path) -> list[str]:
    """With the admission and the authorization that every installer turns on, and policies that mutate."""
    keys = plan.keys
    served = "admissionregistration.k8s.io/v1beta1=true"
    beta = ["--feature-gates=MutatingAdmissionPolicy=true", f"--runtime-config={served}"]
    return [
        str(program),
        *(beta if versions.minor(plan.version) < 36 else []),
        f"--etcd-servers={ETCD}",
        f"--advertise-address={CONTROL_ADDRESS}",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={SERVICES}",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={keys / 'ca.crt'}",
        f"--tls-cert-file={keys / 'kube-apiserver.crt'}",
        f"--tls-private-key-file={keys / 'kube-apiserver.key'}",
        f"--kubelet-certificate-authority={keys / 'ca.crt'}",
        f"--kubelet-client-certificate={keys / 'kube-apiserver.crt'}",
        f"--kubelet-client-key={keys / 'kube-apiserver.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={keys / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={keys / 'service-accounts.key'}",
        # Webhooks and aggregated APIs are asked at their pods: no kube-proxy runs beside the API server.
        "--enable-aggregator-routing=true",
        f"--requestheader-client-ca-file={keys / 'ca.crt'}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={keys / 'front-proxy.crt'}",
        f"--proxy-client-key-file={keys / 'front-proxy.key'}",
        f"--audit-policy-file={plan.control.folder / 'audit.json'}",
        f"--audit-log-path={plan.control.folder / 'logs' / 'audit.log'}",
    ]


def kube_controller_manager(plan: Plan, program: Path) -> list[str]:
    """All controllers that are on by default; there is one of it, so it elects nobody."""
    keys = plan.keys
    return [
        str(program),
        f"--kubeconfig={keys / 'kube-controller-manager.kubeconfig'}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--cluster-signing-cert-file={keys / 'ca.crt'}",
        f"--cluster-signing-key-file={keys / 'ca.key'}",
        f"--root-ca-file={keys / 'ca.crt'}",
        f"--service-account-private-key-file={keys / 'service-accounts.key'}",
    ]


def kube_scheduler(plan: Plan, program: Path) -> list[str]:
    """As above."""
    return [
        str(program),
        f"--kubeconfig={plan.keys / 'kube-scheduler.kubeconfig'}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def coredns(plan: Plan, program: Path) -> list[str]:
    """On the control machine's address, which every pod is told."""
    return [str(program), "-conf", str(plan.control.folder / "Corefile")]
