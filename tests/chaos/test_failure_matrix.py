"""Every row of the failure matrix that is a death at a certain moment (docs/guarantees.md).

A process dies at its failpoint, is started again, and the run ends as if nothing had happened: every trajectory applied
once, and the parameters of actor, critic and both optimisers equal to those of the run left in peace, bit for bit.
"""

from pathlib import Path

import pytest
from chaos_runs import Peace, play

from hiper.chaos.checker import faults_of, outcome_of
from hiper.failpoint import Failpoint

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

PASSES = {
    Failpoint.ENV_AFTER_STEP: 50,
    Failpoint.ROLLOUT_AFTER_STEP: 40,
    Failpoint.ROLLOUT_BEFORE_PUBLISH: 15,
    Failpoint.ROLLOUT_AFTER_PUBLISH: 15,
    Failpoint.REWARD_BEFORE_HAND_OFF: 20,
    Failpoint.REWARD_AFTER_HAND_OFF: 20,
    Failpoint.LEARNER_DURING_CHECKPOINT: 3,
    Failpoint.LEARNER_AFTER_CHECKPOINT: 3,
    Failpoint.LEARNER_AFTER_ACK: 3,
}
"""How often the place is passed before the death: in the middle of the run, not at its start. The others: twice."""


@pytest.mark.parametrize("point", list(Failpoint))
def test_a_death_leaves_no_trace(point: Failpoint, peace: Peace, tmp_path: Path) -> None:
    play(
        tmp_path / "run",
        "warmstart.enabled=false",
        f"model.path={peace.model}",
        failpoint=f"{point}:{PASSES.get(point, 2)}",
    )
    outcome = outcome_of(tmp_path / "run")
    service = point.value.partition("_")[0].replace("env", "env_server")
    assert outcome.restarts[f"{service}-0"] == 1
    assert faults_of(outcome, peace.outcome) == []
