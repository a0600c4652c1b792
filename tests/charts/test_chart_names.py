"""Names and labels that the chart gives: none meets another's, none is too long."""

import pytest

from tests.charts.helm import CLUSTER_SCOPED, Helm, Object, of_kind, the
from tests.charts.rendered import LISTED

pytestmark = pytest.mark.cluster


def test_nothing_is_labelled_as_the_operators_own_which_a_sweep_removes(objects: list[Object]) -> None:
    for each in objects:
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm", each["metadata"]["name"]


def test_names_that_look_like_numbers_stay_names(helm: Helm) -> None:
    made = helm.rendered({"namespaces": {"fabrics": ["1"], "producers": ["2", "0x3"]}}, release="4", namespace="5")
    for each in made:
        assert isinstance(each["metadata"]["name"], str)
        assert isinstance(each["metadata"].get("namespace", ""), str)
    account = the(of_kind(made, "ClusterRoleBinding"), "ClusterRoleBinding", "-operator")["subjects"][0]
    assert (account["name"], account["namespace"]) == ("4-operator", "5")


def test_releases_share_nothing_that_has_no_namespace(helm: Helm) -> None:
    names: list[set[tuple[str, str]]] = []
    for namespace, release in (("a-b", "c"), ("a", "b-c"), ("a", "b"), ("b", "a")):
        made = helm.rendered(LISTED, release=release, namespace=namespace)
        roles = [each for each in made if each["kind"] in CLUSTER_SCOPED or each["metadata"].get("namespace")]
        names.append({(each["kind"], each["metadata"]["name"]) for each in roles})
    assert sum(map(len, names)) == len(set().union(*names))


def test_the_longest_names_still_fit(helm: Helm) -> None:
    for each in helm.rendered(LISTED, release="r" * 53, namespace="n" * 63):
        kind, name = each["kind"], each["metadata"]["name"]
        assert len(name) <= (63 if kind in ("Service", "Job", "Pod", "Deployment") else 253), (kind, name)
