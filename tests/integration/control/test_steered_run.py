"""A real run of `hiper up`, steered over HTTP: paused, scaled, evaluated, stopped, and gone on with."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from started_runs import run_up, until

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
ITERATIONS = 6
SETTINGS = (f"learner.iterations={ITERATIONS}", "evaluation.every=0")
RUN_BOUND_S = 240


class Steering:
    """A user's view of the API that `hiper up` names in its output."""

    def __init__(self, output: Path) -> None:
        until(lambda: "/api/v1/run" in output.read_text(), "the address of the API")
        found = re.search(r"control at (http://\S+?)/run", output.read_text())
        assert found is not None
        self._client = httpx.Client(base_url=found[1], timeout=20)
        until(self._answers, "an answer of the API")

    def _answers(self) -> bool:
        try:
            return self._client.get("/run").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str) -> Any:
        answer = self._client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wish(self, method: str, path: str, **body: Any) -> None:
        answer = self._client.request(method, path, json=body or None)
        assert answer.status_code == 202, answer.text

    def phase(self) -> str:
        return str(self.get("/run")["phase"])

    def ready(self, service: str) -> int:
        return sum(one["ready"] for one in self.get("/services") if one["service"] == service)


def test_a_run_obeys(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with run_up(run_dir, *SETTINGS, "supervisor.scale={control: 1}") as up:
        api = Steering(tmp_path / "up.log")
        until(lambda: api.get("/run")["last_iteration"] is not None, "the first update")
        api.wish("POST", "/run/pause")
        until(lambda: api.phase() == "paused", "the pause")
        version = api.get("/run")["policy_version"]
        assert 1 <= version < ITERATIONS

        api.wish("PUT", "/services/rollout/replicas", replicas=2)
        until(lambda: api.ready("rollout") == 2, "a second rollout")
        targets = json.loads((run_dir / "targets.json").read_text())
        assert sum(one["labels"]["component"] == "rollout" for one in targets) == 2
        api.wish("PUT", "/services/rollout/replicas", replicas=1)
        until(lambda: len(json.loads((run_dir / "targets.json").read_text())) == len(targets) - 1, "its end")
        assert api.get("/run")["policy_version"] == version, "a paused run does not learn"

        api.wish("POST", "/run/evaluations")
        api.wish("POST", "/run/resume")
        until(lambda: version in [line["version"] for line in api.get("/run/evaluations")["items"]], "an evaluation")
        api.wish("POST", "/run/stop")
        assert up.wait(RUN_BOUND_S) == 0, (tmp_path / "up.log").read_text()[-2000:]
    stopped = json.loads((run_dir / "finished.json").read_text())
    assert stopped["stopped"]
    assert stopped["policy_version"] < ITERATIONS

    with run_up(run_dir, *SETTINGS) as up:
        assert up.wait(RUN_BOUND_S) == 0, (tmp_path / "up.log").read_text()[-2000:]
    report = json.loads((run_dir / "report.json").read_text())
    assert (report["policy_versions"], report["conservation_gap"]) == (ITERATIONS, 0)
    assert json.loads((run_dir / "finished.json").read_text()) == {"policy_version": ITERATIONS}
