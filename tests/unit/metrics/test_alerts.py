"""Alerts: each names what exists, tells a person what to do, has a runbook entry, and is tested firing and silent."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from promql_use import faults_of

ROOT = Path(__file__).resolve().parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = {
    rule["alert"]: rule
    for path in sorted((PROMETHEUS / "alerts").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
}
CASES = [
    case
    for path in sorted((PROMETHEUS / "tests").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["tests"]
    for case in group["alert_rule_test"]
]
REQUIRED = [
    "HiperLearnerStalled",
    "HiperNoTrajectories",
    "HiperRedisDown",
    "HiperRedisDiskAlmostFull",
    "HiperNonFiniteGradients",
    "HiperConservationViolated",
    "HiperDataDeletedWhilePending",
    "HiperRedisEvicting",
    "HiperAofWriteError",
    "HiperStreamLagHigh",
    "HiperOldestPendingTooOld",
    "HiperDeadLetters",
    "HiperRedeliveryRateHigh",
    "HiperStalenessHigh",
    "HiperStaleDropsHigh",
    "HiperLogprobMismatchHigh",
    "HiperKLHigh",
    "HiperEntropyCollapse",
    "HiperSuccessRateDrop",
    "HiperZeroVarianceGroupsHigh",
    "HiperWeightVersionSkew",
    "HiperWeightSyncSlow",
    "HiperCheckpointTooOld",
    "HiperEnvErrorRate",
    "HiperEnvCapacityExhausted",
    "HiperEnvStepSlow",
    "HiperRedisMemoryHigh",
    "HiperTargetDown",
    "HiperGroupsExpiring",
]


def anchors(page: Path) -> set[str]:
    """Headings of a Markdown page, as they appear in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_failure_of_the_catalogue_has_an_alert() -> None:
    assert set(REQUIRED) <= set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_an_alert_is_complete_and_asks_for_what_exists(name: str) -> None:
    rule = RULES[name]
    assert faults_of(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"].endswith(".")
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"
    assert name.lower() in anchors(ROOT / "docs" / "operations.md")


@pytest.mark.parametrize("name", RULES)
def test_an_alert_is_tested_firing_and_silent(name: str) -> None:
    fires = {bool(case["exp_alerts"]) for case in CASES if case["alertname"] == name}
    assert fires == {True, False}


def test_the_runbook_knows_no_other_alert() -> None:
    told = {anchor for anchor in anchors(ROOT / "docs" / "operations.md") if anchor.startswith("hiper")}
    assert told == {name.lower() for name in RULES}


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not on PATH: apt-get install prometheus")
    return found


@pytest.mark.parametrize("words", [("check", "config", "prometheus.yml"), ("test", "rules", "tests/*.yml")])
def test_prometheus_itself_agrees(promtool: str, words: tuple[str, ...]) -> None:
    *verb, pattern = words
    files = sorted(str(path.relative_to(PROMETHEUS)) for path in PROMETHEUS.glob(pattern))
    assert files
    done = subprocess.run([promtool, *verb, *files], cwd=PROMETHEUS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
