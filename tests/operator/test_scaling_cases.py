"""Cases worked out by hand from Kubernetes' documentation of the HorizontalPodAutoscaler."""

from __future__ import annotations

from typing import Any

import pytest

from meterfabric_operator.scaling.deciding import Decision, decide
from meterfabric_operator.scaling.limiting import History
from meterfabric_operator.scaling.recommending import NoMetrics, Told, recommend
from meterfabric_operator.status.conditions import Condition
from meterfabric_protocol.fabric_spec import Autoscaling, Behavior, ScaleDown, ScaleUp, ScalingPolicy

MISSING, UNREADY = Told("Missing"), Told("Unready")


def busy(*percent: float) -> list[Told]:
    """Relays that are so busy."""
    return [Told("Reporting", round(each * 100)) for each in percent]


def policy(kind: Any, value: int, seconds: int) -> ScalingPolicy:
    return ScalingPolicy(type=kind, value=value, period_seconds=seconds)


@pytest.mark.parametrize(
    ("relays", "current", "target", "replicas"),
    [
        # "If the current metric value is 200m and the desired value 100m, the number will be doubled …"
        (busy(80, 80, 80), 3, 40, 6),
        # "… if it is 50m, you'll halve it"
        (busy(20, 20, 20, 20), 4, 40, 2),
        (busy(50, 50, 50), 3, 40, 4),  # ceil(3 × 1.25)
        (busy(90, 10), 2, 50, 2),  # the mean counts, not the worst
        (busy(100, 100), 2, 80, 3),  # ceil(2 × 1.25)
        (busy(0, 0), 2, 80, 0),
        # within a tenth of the target nothing changes, and its edges are within
        (busy(44, 44, 44), 3, 40, 3),
        (busy(36, 36, 36), 3, 40, 3),
        (busy(44.1, 44.1, 44.1), 3, 40, 4),
        (busy(35.9) * 30, 30, 40, 27),
        # The number of relays that told counts, not the number wanted.
        (busy(80, 80), 5, 40, 4),
        # Growth: a missing relay is taken as idle, and dampens.
        ([*busy(80, 80), MISSING], 3, 40, 4),  # 160 / 3 = 53.3: ceil(3 × 1.33)
        ([*busy(60), MISSING], 2, 40, 2),  # 30 < 40: it would turn around
        # Shrinking: a missing relay is taken as full.
        ([*busy(10, 10, 10), MISSING], 4, 40, 4),  # 130 / 4 = 32.5: ceil(4 × 0.81)
        ([*busy(5, 5, 5, 5, 5, 5, 5, 5, 5), MISSING], 10, 40, 4),  # 145 / 10 = 14.5: ceil(10 × 0.3625)
        ([*busy(20), MISSING], 2, 40, 2),  # 60 > 40: it would turn around
        # Growth: those that aren't ready yet are taken as idle, since they will take their share.
        ([*busy(80, 80), UNREADY, UNREADY], 4, 40, 4),  # 160 / 4: on target
        ([*busy(100, 100), UNREADY], 3, 40, 5),  # 200 / 3 = 66.7: ceil(3 × 1.67)
        ([*busy(50, 50, 50, 50), UNREADY], 4, 40, 4),  # 200 / 5: on target, no fifth is needed
        # Shrinking: they are left out.
        ([*busy(10, 10), UNREADY], 3, 40, 1),  # ceil(2 × 0.25)
    ],
)
def test_the_recommended_number(relays: list[Told], current: int, target: int, replicas: int) -> None:
    assert recommend(relays, current, target, 100).replicas == replicas


def test_relays_that_are_no_more_than_there_and_say_nothing_recommend_nothing() -> None:
    with pytest.raises(NoMetrics, match="no relay yet"):
        recommend([], 2, 80, 100)
    with pytest.raises(NoMetrics, match="none of 3 relays told how busy it is: 2 silent, 1 not ready"):
        recommend([MISSING, MISSING, UNREADY], 3, 80, 100)


class Loop:
    """An autoscaler whose every decision is carried out, every 15 seconds."""

    def __init__(self, current: int, **spec: Any) -> None:
        self.spec = Autoscaling(**{"min_replicas": 1, "max_replicas": 100, "target_utilization": 50, **spec})
        self.current, self.history, self.now = current, History(), 0.0

    def sync(self, percent: float) -> Decision:
        """All relays are so busy."""
        self.now += 15.0
        made = decide(self.spec, self.current, busy(*[percent] * self.current), self.history, self.now)
        self.history = made.history
        if made.replicas != self.current:
            self.history = self.history.scaled(self.current, made.replicas, self.now, self.spec.behavior)
        self.current = made.replicas
        return made

    def run(self, percent: float, times: int) -> list[int]:
        """The numbers that come of it."""
        return [self.sync(percent).replicas for _ in range(times)]


def condition(made: Decision, kind: str) -> Condition:
    (found,) = [each for each in made.conditions if each.type == kind]
    return found


def test_by_default_growth_is_four_relays_or_as_many_again_each_quarter_of_a_minute() -> None:
    # A target of 10 and relays that are full ask for ten times as many each time.
    assert Loop(1, target_utilization=10).run(100, 5) == [5, 10, 20, 40, 80]


def test_by_default_shrinking_waits_five_minutes_and_is_then_done_at_once() -> None:
    loop = Loop(40)
    held = loop.sync(1)
    assert held.replicas == 40
    assert condition(held, "AbleToScale").reason == "ScaleDownStabilized"
    assert loop.run(1, 19) == [40] * 19
    assert loop.sync(1).replicas == 1


def test_a_peak_within_the_window_holds_shrinking_back_to_what_it_asked_for() -> None:
    loop = Loop(4)
    assert loop.run(25, 10) == [4] * 10
    assert loop.sync(80).replicas == 7
    assert loop.run(10, 19) == [7] * 19
    assert loop.sync(10).replicas == 2


def test_a_window_for_growth_takes_the_lowest_of_it() -> None:
    loop = Loop(2, behavior=Behavior(scale_up=ScaleUp(stabilization_window_seconds=45)))
    held = loop.sync(100)
    assert held.replicas == 2
    assert condition(held, "AbleToScale").reason == "ScaleUpStabilized"
    assert loop.run(100, 3) == [2, 2, 4]


def test_eighty_replicas_shrink_as_the_documentations_example_does() -> None:
    """Policies of 4 pods and of 10 % a minute, from 80 toward 10: by 8, 8 (7.2 rounded up), …, by 4 below 40."""
    down = ScaleDown(stabilization_window_seconds=0, policies=(policy("Pods", 4, 15), policy("Percent", 10, 15)))
    loop = Loop(80, min_replicas=10, behavior=Behavior(scale_down=down))
    assert loop.run(0, 13) == [72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12]
    last = loop.sync(0)
    assert (last.replicas, condition(last, "ScalingLimited").reason) == (10, "TooFewReplicas")


def test_the_policy_of_the_least_change_counts_where_it_is_asked_for() -> None:
    pair = (policy("Pods", 4, 15), policy("Percent", 10, 15))
    down = ScaleDown(stabilization_window_seconds=0, select_policy="Min", policies=pair)
    assert Loop(80, behavior=Behavior(scale_down=down)).run(0, 3) == [76, 72, 68]
    up = ScaleUp(select_policy="Min", policies=pair)
    assert Loop(10, behavior=Behavior(scale_up=up)).run(100, 3) == [11, 13, 15]


def test_a_period_longer_than_a_sync_counts_what_changed_within_it() -> None:
    up = ScaleUp(policies=(policy("Pods", 2, 60),))
    loop = Loop(2, behavior=Behavior(scale_up=up))
    limited = loop.sync(100)
    assert limited.replicas == 4
    assert loop.run(100, 3) == [4, 4, 4]
    assert condition(loop.sync(100), "ScalingLimited").reason == "ScaleUpLimit"
    assert loop.current == 6


def test_disabled_is_no_change_in_that_direction() -> None:
    behavior = Behavior(scale_down=ScaleDown(stabilization_window_seconds=0, select_policy="Disabled"))
    loop = Loop(4, behavior=behavior)
    made = loop.sync(0)
    assert (made.replicas, condition(made, "ScalingLimited").reason) == (4, "ScaleDownLimit")
    assert loop.sync(100).replicas == 8


def test_the_bounds_hold_and_say_so() -> None:
    loop = Loop(4, max_replicas=5)
    made = loop.sync(100)
    assert (made.replicas, condition(made, "ScalingLimited").reason) == (5, "TooManyReplicas")
    assert made.utilization == 100
    assert condition(loop.sync(50), "ScalingLimited").status == "False"


@pytest.mark.parametrize(("current", "replicas", "why"), [(9, 6, "above maxReplicas"), (1, 3, "below minReplicas")])
def test_a_number_out_of_bounds_is_brought_back_whatever_relays_say(current: int, replicas: int, why: str) -> None:
    spec = Autoscaling(min_replicas=3, max_replicas=6)
    made = decide(spec, current, [], History(), 0.0)
    assert made.replicas == replicas
    assert why in made.why


def test_without_numbers_nothing_changes_and_the_condition_says_so() -> None:
    made = decide(Autoscaling(max_replicas=6), 3, [MISSING], History(), 0.0)
    assert (made.replicas, made.utilization) == (3, None)
    (inactive,) = made.conditions
    assert (inactive.type, inactive.status, inactive.reason) == ("ScalingActive", "False", "FailedGetPodsMetric")


def test_to_switch_autoscaling_on_changes_nothing_by_itself() -> None:
    """Relays that do nothing are kept for the window, however few would do."""
    assert Loop(7, min_replicas=2).run(0, 20) == [7] * 20


def test_the_defaults_are_those_of_a_horizontal_pod_autoscaler_but_for_the_fewest() -> None:
    spec = Autoscaling(max_replicas=10)
    assert (spec.min_replicas, spec.target_utilization, spec.tolerance) == (2, 80, "0.1")
    up, down = spec.behavior.scale_up, spec.behavior.scale_down
    assert (up.stabilization_window_seconds, up.select_policy) == (0, "Max")
    assert up.policies == (policy("Pods", 4, 15), policy("Percent", 100, 15))
    assert (down.stabilization_window_seconds, down.select_policy) == (300, "Max")
    assert down.policies == (policy("Percent", 100, 15),)
