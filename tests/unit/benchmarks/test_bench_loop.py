"""`hiper bench loop`: what it makes of the lines and CPU times of two runs, and what it refuses."""

import pytest

from hiper.bench.loop import Cores, settings, two_cores
from hiper.bench.pace import CpuTimes, Pace, busy_machine, figures, pace_of, used_between
from hiper.config import parse_config
from hiper.errors import DependencyError, ExitCode, RunStateError


def line(version: int, time: float, wait: float, staleness: float = 1.0) -> dict[str, float]:
    return {
        "version": version,
        "time": time,
        "seconds_wait": wait,
        "staleness": staleness,
        "turns": 100,
        "tokens": 5000,
    }


def pace(seconds: float, waited: float, foreign_cpu: float = 1.0) -> Pace:
    return Pace(
        seconds, waited, learner_cpu=4.0, others_cpu=5.0, foreign_cpu=foreign_cpu, staleness=0.0, turns=100, tokens=5000
    )


def test_the_first_updates_and_the_start_do_not_count() -> None:
    lines = [line(1, 100.0, 60.0), line(2, 107.0, 5.0), line(3, 112.0, 1.0), line(4, 119.0, 2.0, staleness=0.5)]
    samples = [CpuTimes(0.0, 0.0, 0.0, 0.0), CpuTimes(107.0, 30.0, 40.0, 90.0), CpuTimes(131.0, 42.0, 64.0, 138.0)]
    found = pace_of(lines, samples, warm_up=2)
    assert (found.seconds, found.waited, found.staleness) == (6.0, 1.5, 0.75)
    assert (found.learner_cpu, found.others_cpu) == pytest.approx((3.0, 6.0)), "12 s of 24 s, two updates"
    assert found.foreign_cpu == pytest.approx(24.0 / 2 - 9.0)
    with pytest.raises(RunStateError, match="none is left"):
        pace_of(lines, samples, warm_up=4)


def test_cpu_time_between_samples_is_shared_out_in_proportion() -> None:
    samples = [CpuTimes(10.0, 0.0, 5.0, 5.0), CpuTimes(20.0, 8.0, 5.0, 25.0)]
    used = used_between(samples, 12.5, 17.5)
    assert (used.learner, used.others, used.cores) == pytest.approx((4.0, 0.0, 10.0))


def test_figures_compare_the_runs_of_each_repeat() -> None:
    paces = {"synchronous": [pace(9.0, 4.5), pace(12.0, 6.0)], "asynchronous": [pace(6.0, 0.6), pace(6.0, 1.2)]}
    found = {figure.name: figure for figure in figures(paces)}
    assert found["synchronous"].values == [400.0, 300.0]
    assert found["asynchronous"].values == [600.0, 600.0]
    gained = found["asynchronous against synchronous"]
    assert gained.values == [1.5, 2.0]
    assert gained.to_json()["target_met"] is True
    assert found["to be expected of two cores"].values == [9.0 / 5.0, 12.0 / 5.0]
    assert found["asynchronous: learner waits"].values == pytest.approx([10.0, 20.0])
    assert found["synchronous: learner waits"].values == pytest.approx([50.0, 50.0])
    assert found["synchronous: rollout's core idle"].values[0] == pytest.approx(100 * 4 / 9)
    assert found["synchronous: cores taken by other programs"].values[0] == pytest.approx(100 / 18)


def test_a_busy_machine_is_named() -> None:
    quiet = {"synchronous": [pace(9.0, 4.5)], "asynchronous": [pace(6.0, 0.6)]}
    assert busy_machine(quiet) == []
    busy = {**quiet, "asynchronous": [pace(6.0, 0.6), pace(6.0, 0.6, foreign_cpu=3.0)]}
    assert busy_machine(busy) == [
        "other programs took up to 25% of the two cores; measure again when the machine is quiet"
    ]


@pytest.mark.parametrize(("usable", "processors"), [([3], 4), ([0, 1, 2, 3], 1), ([], 8)])
def test_one_core_is_refused_in_a_line(usable: list[int], processors: int) -> None:
    with pytest.raises(DependencyError, match="two are not to be had") as refused:
        two_cores(usable, processors)
    assert refused.value.exit_code is ExitCode.DEPENDENCY


def test_learner_and_rollout_never_share_a_core() -> None:
    cores = two_cores([2, 3, 7], 3)
    assert cores == Cores(learner=7, others=2)
    given = parse_config(settings(1, 8, 0, cores), source="test", environment={}).supervisor.cores
    assert given.pop("learner") == (7,)
    assert {"broker", "rollout", "env_server", "hae", "reward"} <= given.keys()
    assert set(given.values()) == {(2,)}


def test_the_two_runs_differ_in_staleness_alone() -> None:
    synchronous, asynchronous = (settings(staleness, 8, 0, Cores(1, 0)) for staleness in (0, 1))
    assert synchronous["learner"].pop("max_staleness") == 0
    assert asynchronous["learner"].pop("max_staleness") == 1
    assert synchronous == asynchronous
