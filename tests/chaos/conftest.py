"""One run left in peace; every troubled run is compared with it."""

import pytest
from chaos_runs import Peace, play

from hiper.chaos.checker import outcome_of


@pytest.fixture(scope="session")
def peace(tmp_path_factory: pytest.TempPathFactory) -> Peace:
    run_dir = tmp_path_factory.mktemp("peace") / "run"
    play(run_dir)
    outcome = outcome_of(run_dir)
    assert outcome.complete
    assert outcome.gap == 0
    assert outcome.parameters
    return Peace(outcome, run_dir / "model")
