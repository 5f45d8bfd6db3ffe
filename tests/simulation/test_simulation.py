"""Thousands of interleavings of the services' own code, each drawn from a seed and played in virtual time.

A seed that once failed belongs into `REGRESSIONS`. HIPER_SIMULATIONS sets the number of schedules.
"""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from simulated_run import SimulatedRun
from virtual_loop import simulate

from hiper.streams import Counts

SCHEDULES = int(os.environ.get("HIPER_SIMULATIONS", "1000"))
REGRESSIONS: tuple[int, ...] = ()


def check(seed: int, root: Path) -> tuple[float, Counts]:
    """Play one schedule; return when it ended and what was counted."""

    async def play() -> tuple[float, Counts]:
        run = SimulatedRun(random.Random(seed), root)
        state = await run.run()
        assert state.gap == 0, state
        assert state.counts.published == state.counts.applied == run.versions * run.size
        assert set(run.disk.applied.values()) == {1}, "something took effect twice"
        assert len(run.disk.applied) == run.versions * run.size, "something was lost"
        return asyncio.get_running_loop().time(), state.counts

    return simulate(seed, play)


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_seeds_that_once_failed(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path)


def test_a_seed_is_a_schedule(tmp_path: Path) -> None:
    assert check(1, tmp_path / "a") == check(1, tmp_path / "b")
    assert any(check(1, tmp_path / "c") != check(seed, tmp_path / str(seed)) for seed in range(2, 12))


@pytest.mark.slow
def test_no_schedule_loses_or_doubles_a_trajectory(tmp_path: Path) -> None:
    met: Counter[str] = Counter()
    for seed in range(SCHEDULES):
        try:
            _, counts = check(seed, tmp_path / str(seed))
        except BaseException as error:
            error.add_note(f"schedule {seed}")
            raise
        met.update(fenced=counts.fenced, deduplicated=counts.deduplicated)
    assert met["fenced"], "no zombie ever came too late: the schedules are too tame"
    assert met["deduplicated"], "no task was ever played twice: the schedules are too tame"
