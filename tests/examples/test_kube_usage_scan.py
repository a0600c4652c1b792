"""A kubelet's page as readings of pods."""

import pytest

from kube_usage.scan import Container, Pod, Reading, ScrapeFailed, parse

WEB = Pod("shop", "web-0")
PAGE = """\
# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="a",namespace="shop",pod="web-0"} 1.5 1795517611373
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="a",namespace="shop",pod="web-0"} 1.7955175938685677e+09
container_start_time_seconds{container="b",namespace="shop",pod="web-0"} 1.7955175e+09
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 23691.475678234 1795517367191
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="shop",pod="web-0"} 20.794603055 1795517606404
# TYPE pod_memory_working_set_bytes gauge
pod_memory_working_set_bytes{namespace="shop",pod="web-0"} 7.110656e+06 1795517606404
# TYPE resource_scrape_error gauge
resource_scrape_error 0
"""


def test_a_pods_counter_memory_and_containers_are_read_exactly() -> None:
    scan = parse(PAGE, 5)
    assert scan.at_ms == 5
    containers = (Container(1_795_517_593_869, 1_500_000_000), Container(1_795_517_500_000, 0))
    assert scan.pods == {WEB: Reading(1_795_517_606_404, 20_794_603_055, 7_110_656, containers)}


def test_a_sample_without_a_timestamp_is_of_the_time_it_was_asked_for() -> None:
    assert parse(PAGE.replace(" 1795517606404", ""), 77).pods[WEB].at_ms == 77


def test_a_pod_whose_containers_have_all_ended_has_none() -> None:
    page = "\n".join(line for line in PAGE.splitlines() if "start_time" not in line) + "\n"
    assert parse(page, 5).pods[WEB].containers == ()


@pytest.mark.parametrize("lacking", ["pod_cpu_usage_seconds_total{", "pod_memory_working_set_bytes{"])
def test_a_pod_that_lacks_its_cpu_or_its_memory_is_left_out(lacking: str) -> None:
    page = "\n".join(line for line in PAGE.splitlines() if lacking not in line) + "\n"
    assert parse(page, 5).pods == {}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1"])
def test_a_value_that_is_no_amount_is_left_out(value: str) -> None:
    assert parse(PAGE.replace("20.794603055", value), 5).pods == {}


def test_where_the_kubelet_could_not_look_there_is_no_scan() -> None:
    with pytest.raises(ScrapeFailed, match="could not look at all"):
        parse(PAGE.replace("resource_scrape_error 0", "resource_scrape_error 1"), 5)


@pytest.mark.parametrize("page", ["", "<html>nothing here</html>", "pod_cpu_usage_seconds_total{"])
def test_a_page_that_is_none_is_no_scan(page: str) -> None:
    with pytest.raises(ScrapeFailed, match=r"empty|can't be read"):
        parse(page, 5)
