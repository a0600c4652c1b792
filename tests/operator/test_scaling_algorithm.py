"""Whatever relays say, whatever the behavior, minute after minute: the number is the one HPA's algorithm gives."""

from __future__ import annotations

from typing import Any, Literal, get_args

from hypothesis import given
from hypothesis import strategies as st

from meterfabric_operator.scaling.deciding import decide
from meterfabric_operator.scaling.limiting import History
from meterfabric_operator.scaling.recommending import Standing, Told
from meterfabric_protocol.fabric_spec import Autoscaling, Behavior, ScaleDown, ScaleUp, ScalingPolicy
from tests.operator.hpa_model import Model

KINDS: tuple[Literal["Pods", "Percent"], ...] = ("Pods", "Percent")
policies = st.lists(
    st.builds(
        ScalingPolicy,
        type=st.sampled_from(KINDS),
        value=st.integers(1, 150),
        period_seconds=st.sampled_from((1, 15, 30, 60, 600)),
    ),
    min_size=1,
    max_size=3,
).map(tuple)


def rules(kind: Any) -> st.SearchStrategy[Any]:
    return st.builds(
        kind,
        stabilization_window_seconds=st.sampled_from((0, 15, 40, 300)),
        select_policy=st.sampled_from(("Max", "Min", "Disabled")),
        policies=policies,
    )


@st.composite
def specs(draw: st.DrawFn) -> Autoscaling:
    low, high = sorted(draw(st.tuples(st.integers(1, 40), st.integers(1, 40))))
    return Autoscaling(
        min_replicas=low,
        max_replicas=high,
        target_utilization=draw(st.integers(1, 100)),
        tolerance=draw(st.sampled_from(("0", "0.1", "50m", "0.333"))),
        behavior=Behavior(scale_up=draw(rules(ScaleUp)), scale_down=draw(rules(ScaleDown))),
    )


told = st.builds(Told, standing=st.sampled_from(get_args(Standing) + ("Reporting",) * 3), used=st.integers(0, 10_000))
syncs = st.lists(
    # Seconds since the last one, what relays say, and whether somebody else wrote a number meanwhile.
    st.tuples(
        st.sampled_from((1, 15, 15, 15, 40, 700)),
        st.lists(told, max_size=8),
        st.none() | st.integers(1, 40),
    ),
    min_size=1,
    max_size=25,
)


@given(specs(), st.integers(1, 40), syncs)
def test_the_number_is_the_one_of_the_published_algorithm(spec: Autoscaling, current: int, steps: Any) -> None:
    model, history, now = Model(spec), History(), 0.0
    for seconds, relays, written in steps:
        now += seconds
        current = written or current
        made = decide(spec, current, relays, history, now)
        assert made.replicas == model.sync(current, relays, now)
        assert bool(made.why) == (made.replicas != current)
        history = made.history
        if made.replicas != current:
            history = history.scaled(current, made.replicas, now, spec.behavior)
            model.scaled(current, made.replicas, now)
            current = made.replicas


@given(specs(), st.lists(told, max_size=8), st.integers(1, 40))
def test_a_number_within_the_bounds_stays_within(spec: Autoscaling, relays: list[Told], current: int) -> None:
    made = decide(spec, current, relays, History(), 0.0)
    assert spec.min_replicas <= made.replicas <= spec.max_replicas or made.replicas == current


@given(specs(), st.lists(told, min_size=1, max_size=8), st.integers(1, 40), st.data())
def test_a_relay_that_stops_telling_never_makes_a_change_larger(
    spec: Autoscaling, relays: list[Told], current: int, data: st.DataObject
) -> None:
    """Conservative in both directions: with the loads of all known the answer lies as far off, or farther."""
    current = max(spec.min_replicas, min(current, spec.max_replicas))
    lost = data.draw(st.integers(0, len(relays) - 1))
    load = relays[lost].used
    rest = relays[:lost] + relays[lost + 1 :]
    silent = decide(spec, current, [*rest, Told("Missing")], History(), 0.0).replicas
    known = decide(spec, current, [*rest, Told("Reporting", load)], History(), 0.0).replicas
    without = decide(spec, current, rest, History(), 0.0).replicas
    lowest, highest = min(known, without, current), max(known, without, current)
    assert lowest <= silent <= highest
