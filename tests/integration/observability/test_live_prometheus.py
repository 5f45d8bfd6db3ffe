"""A real Prometheus scrapes a real run: every process is a target, no panel is empty, a healthy run raises no alarm."""

import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from live_prometheus import Prometheus, prometheus_of
from started_runs import ROOT, run_up, until

sys.path.append(str(ROOT / "tests" / "unit" / "metrics"))
from test_dashboards import EXPRESSIONS, plain

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
COMPONENTS = {"env_server", "reward", "hae", "learner", "rollout"}
RUN_BOUND_S = 300


@dataclass(frozen=True)
class Scraped:
    """What is known after a run."""

    prometheus: Prometheus
    components: set[str]
    start: float
    end: float


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not on PATH: apt-get install prometheus")
    run_dir: Path = tmp_path_factory.mktemp("scraped") / "run"
    start = time.time()
    settings = ("learner.iterations=6", "learner.samples_per_task=2", "evaluation.every=2")
    with run_up(run_dir, *settings) as up, prometheus_of(run_dir, binary) as prometheus:

        def healthy() -> set[str]:
            targets = prometheus.active_targets()
            return {target["labels"]["component"] for target in targets if target["health"] == "up"}

        until(lambda: healthy() >= COMPONENTS, "a scrape of every service")
        components = healthy()
        assert up.wait(RUN_BOUND_S) == 0, (run_dir.parent / "up.log").read_text()[-2000:]
        yield Scraped(prometheus, components, start, time.time())


def test_every_service_is_a_target_and_a_finished_run_has_none(scraped: Scraped) -> None:
    assert scraped.components >= COMPONENTS
    until(lambda: not scraped.prometheus.active_targets(), "the end of the targets")


def test_every_expression_of_every_dashboard_returns_data(scraped: Scraped) -> None:
    empty = []
    for where, expr in EXPRESSIONS:
        asked = plain(expr).replace("[1m]", "[10s]")
        if not scraped.prometheus.figures(asked, scraped.start, scraped.end):
            empty.append((where, asked))
    assert empty == []


def test_every_rule_is_evaluated_and_none_fires(scraped: Scraped) -> None:
    rules = scraped.prometheus.rules()
    assert len(rules) >= 30
    assert [rule["name"] for rule in rules if rule["health"] != "ok" or rule["state"] == "firing"] == []
