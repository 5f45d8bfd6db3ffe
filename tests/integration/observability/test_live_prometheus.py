"""A real Prometheus scrapes a real run: every process is a target, no panel is empty, a healthy run raises no alarm."""

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from started_runs import run_up, until

from benchmarks.dashboards.answers import PAGES, Page
from benchmarks.dashboards.prometheus import Prometheus, Span, prometheus_of
from hiper.metrics.catalogue import LABELS
from hiper.tracing import trace_id

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
COMPONENTS = {"env_server", "reward", "hae", "learner", "rollout"}
RUN_BOUND_S = 300


@dataclass(frozen=True)
class Scraped:
    """What is known after a run."""

    prometheus: Prometheus
    components: set[str]
    span: Span


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not on PATH: apt-get install prometheus")
    run_dir: Path = tmp_path_factory.mktemp("scraped") / "run"
    start = time.time()
    # A collector that is not there: traces are made all the same, and hold up nothing.
    traced = ("tracing.ratio=1.0", "tracing.endpoint=http://127.0.0.1:9")
    settings = ("learner.iterations=6", "evaluation.every=2", *traced)
    with run_up(run_dir, *settings) as up, prometheus_of(run_dir, binary) as prometheus:

        def healthy() -> set[str]:
            targets = prometheus.active_targets()
            return {target["labels"]["component"] for target in targets if target["health"] == "up"}

        until(lambda: healthy() >= COMPONENTS, "a scrape of every service")
        components = healthy()
        assert up.wait(RUN_BOUND_S) == 0, (run_dir.parent / "up.log").read_text()[-2000:]
        yield Scraped(prometheus, components, Span(start, time.time()))


def test_every_service_is_a_target_and_a_finished_run_has_none(scraped: Scraped) -> None:
    assert scraped.components >= COMPONENTS
    until(lambda: not scraped.prometheus.active_targets(), "the end of the targets")


@pytest.mark.parametrize("uid", PAGES)
def test_every_expression_of_every_dashboard_returns_data(scraped: Scraped, uid: str) -> None:
    answered = Page(PAGES[uid], scraped.prometheus, scraped.span, scrape_s=2.5).answered()
    assert answered.empty == []


@pytest.mark.parametrize(
    "label", ["outcome", "estimator", "side", "stat", "state", "stream", "where", "model", "dependency"]
)
def test_a_label_has_the_values_that_are_documented(scraped: Scraped, label: str) -> None:
    """Expressions select by them: with another word a panel shows 0 for ever, and looks healthy."""
    told = set(re.findall(r"`([^`]+)`", LABELS[label]))
    series = scraped.prometheus.series(f'{{__name__=~"hiper_.+",{label}!=""}}', scraped.span)
    seen = {one.labels[label] for one in series}
    assert seen <= told
    assert seen or label == "where", "a healthy run counts nothing that is not finite"


@pytest.mark.parametrize(
    "metric",
    ["rollout_episode_duration_seconds", "rollout_generate_duration_seconds", "reward_compute_duration_seconds"],
)
def test_a_slow_one_leads_to_its_trace(scraped: Scraped, metric: str) -> None:
    found = scraped.prometheus.traced(f"hiper_{metric}_bucket", scraped.span)
    played = {trace_id(f"chaos/train-{n:06d}/{task}/0") for n in range(6) for task in range(12)}
    assert found & played


def test_every_rule_is_evaluated_and_none_fires(scraped: Scraped) -> None:
    rules = scraped.prometheus.rules()
    assert len(rules) >= 30
    assert [rule["name"] for rule in rules if rule["health"] != "ok" or rule["state"] == "firing"] == []
