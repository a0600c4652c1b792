"""What was found after a start is compared with what is wanted, so that only what somebody changed is applied again."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meterfabric_operator.children import fabric_children
from meterfabric_operator.objects import with_digest
from meterfabric_operator.watching.drift import holds, pack
from tests.operator.facts import facts

LEAVES = st.one_of(st.booleans(), st.integers(0, 9), st.text("ab", max_size=2))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
)


def body(spec: Any, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a", "namespace": "b", **metadata},
        "spec": spec,
    }


def filled(value: Any) -> Any:
    """As the API server gives it back: with more in every map."""
    if isinstance(value, dict):
        return {**{name: filled(each) for name, each in value.items()}, "default": True}
    if isinstance(value, list):
        return [filled(each) for each in value]
    return value


@given(VALUES)
def test_defaults_that_the_server_added_are_no_change(value: Any) -> None:
    assert holds(pack(filled(body({"value": value}))), body({"value": value}))


@given(VALUES, LEAVES)
def test_another_value_is_one_wherever_it_stands(value: Any, other: Any) -> None:
    for spec in ({"deep": [value, {"x": other}]}, {"deep": {"y": value, "x": [other]}}):
        changed = {"deep": [value, {"x": "changed"}]} if isinstance(spec["deep"], list) else {"deep": {"y": value}}
        if other not in ("", "changed"):
            assert not holds(pack(body(changed)), body(spec))


def test_a_label_an_annotation_or_an_owner_that_somebody_took_away_is_a_change() -> None:
    marks: dict[str, Any] = {"labels": {"a": "b"}, "annotations": {"c": "d"}, "ownerReferences": [{"uid": "u"}]}
    wanted = body({}, **marks)
    assert holds(pack(body({}, **marks, uid="u", managedFields=[])), wanted)
    for name in marks:
        assert not holds(pack(body({}, **{**marks, name: None})), wanted)


def test_a_thing_more_in_a_list_is_a_change() -> None:
    assert not holds(pack(body({"ports": [1, 2]})), body({"ports": [1]}))


def test_what_the_server_leaves_out_because_it_is_empty_is_no_change() -> None:
    wanted = body({"env": [{"name": "A", "value": ""}], "volumes": []})
    assert holds(pack(body({"env": [{"name": "A"}]})), wanted)
    assert not holds(pack(body({"env": [{"name": "A", "value": "b"}]})), wanted)


def test_every_child_holds_as_it_was_applied_and_not_with_another_digest() -> None:
    for child in fabric_children.of_fabric(facts()):
        marked = with_digest(child)
        assert holds(pack(filled(marked)), marked), child["kind"]
        assert not holds(pack(filled(child)), marked), child["kind"]
