"""The claims of method.md, section 16, on the tabular problem: fixed seeds, and limits far outside of their noise."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tabular.exact import Solution, at_switch_rate
from benchmarks.tabular.problem import PARAMETERS, Gradient, Problem
from benchmarks.tabular.study import CRITIC, NOISY, Study, StudySettings, run_study
from benchmarks.variance_study import QUICK, main, pooled_z, report

ROOT = Path(__file__).parents[3]
RARE, SOME, ALWAYS = QUICK.rates


@pytest.fixture(scope="module")
def study() -> Study:
    return run_study(QUICK)


@pytest.fixture
def problem() -> Problem:
    return at_switch_rate(Problem.random(np.random.default_rng(7)), 0.3)


def _step(parameter: int, size: float) -> Gradient:
    flat = np.zeros(PARAMETERS)
    flat[parameter] = size
    zero = Gradient(np.zeros((8, 3)), np.zeros((8, 3)), np.zeros((8, 3, 3)))
    sizes = np.cumsum([zero.switch.size, zero.subgoal.size])
    parts = np.split(flat, sizes)
    return Gradient(*(part.reshape(like.shape) for part, like in zip(parts, vars(zero).values(), strict=True)))


def test_the_exact_gradient_is_the_slope_of_the_expected_return(problem: Problem) -> None:
    size = 1e-5
    slopes = [
        (
            Solution.of(problem.moved(_step(parameter, size))).expected_return
            - Solution.of(problem.moved(_step(parameter, -size))).expected_return
        )
        / (2 * size)
        for parameter in range(PARAMETERS)
    ]
    np.testing.assert_allclose(Solution.of(problem).gradient.flat(), slopes, atol=1e-8)


@pytest.mark.parametrize("rate", QUICK.rates)
def test_the_switch_rate_is_the_one_asked_for(rate: float) -> None:
    solution = Solution.of(at_switch_rate(Problem.random(np.random.default_rng(3)), rate))
    assert solution.switch_rate == pytest.approx(rate, abs=1e-6)


def test_hae_is_flat_gae_where_it_should_and_only_there(study: Study) -> None:
    assert len(study.reductions) == 7
    for one in study.reductions:
        assert (one.difference < 1e-9) if one.holds else (one.difference > 1), one.statement


@pytest.mark.parametrize("estimator", [*CRITIC, "rloo"])
def test_exact_critics_leave_no_bias(study: Study, estimator: str) -> None:
    for rate in QUICK.rates:
        assert pooled_z(study.values(estimator, rate, "bias_z")) < 4


def test_a_bias_would_be_found(study: Study) -> None:
    for rate in QUICK.rates:
        assert pooled_z(study.values("flat 0", rate, "bias_z", noisy=True)) > 50
        assert pooled_z(study.values("grpo", rate, "bias_z")) > 50


@pytest.mark.parametrize(
    ("estimator", "flat", "rate", "low", "high"),
    [
        ("third (1,1)", "flat 1", RARE, 0.6, 0.9),
        ("third (1,1)", "flat 1", SOME, 0.3, 0.6),
        ("third (1,1)", "flat 1", ALWAYS, 0.4, 0.7),
        ("gain (1,1)", "flat 1", SOME, 0.3, 0.5),
        ("third (1,.95)", "flat 1", ALWAYS, 0.2, 0.45),
        ("third (.95,.95)", "flat .95", RARE, 0.9, 1.0),
        ("third (.95,.95)", "flat .95", SOME, 0.6, 0.8),
    ],
)
def test_variance_is_below_flat_gae_of_the_same_lambda(
    study: Study, estimator: str, flat: str, rate: float, low: float, high: float
) -> None:
    ratio = study.ratio(estimator, flat, rate)
    assert low < ratio.min() <= ratio.max() < high


def test_variance_is_not_below_flat_gae_of_a_smaller_lambda_when_switches_are_rare(study: Study) -> None:
    assert study.ratio("third (1,1)", "flat .95", RARE).min() > 1.2


def test_noisy_critics_bias_what_bootstraps_with_them(study: Study) -> None:
    bias = {(name, rate): study.values(name, rate, "bias", noisy=True) for name in NOISY for rate in QUICK.rates}
    for rate in QUICK.rates:
        assert bias["flat 1", rate].mean() < 0.05
        assert bias["flat 0", rate].mean() > 0.3
        assert bias["third (1,.95)", rate].mean() < bias["flat 0", rate].mean()
    # Every boundary is a place to bootstrap at.
    assert (
        bias["third (1,.95)", RARE].mean() < bias["third (1,.95)", SOME].mean() < bias["third (1,.95)", ALWAYS].mean()
    )
    # The gain form is all value heads; where every turn switches, nothing is left to decide, and the forms are one.
    assert (bias["gain (1,.95)", SOME] > 1.5 * bias["third (1,.95)", SOME]).all()
    np.testing.assert_allclose(bias["gain (1,.95)", ALWAYS], bias["third (1,.95)", ALWAYS], rtol=1e-6)


def test_returns_make_the_third_heads_switch_gradient_far_noisier_than_the_gain_form(study: Study) -> None:
    third, gain = (study.values(f"{form} (1,.95)", RARE, "switch_variance") for form in ("third", "gain"))
    assert (third > 20 * gain).all()


def test_group_baselines_without_a_critic(study: Study) -> None:
    for rate in QUICK.rates:
        # A standard deviation of the group in the denominator changes the length, hardly the direction.
        assert study.values("grpo", rate, "scale").max() < 0.3
        assert study.values("grpo", rate, "turned").mean() < 0.15
        assert study.ratio("hae_group", "rloo", rate).max() < 1


def test_a_study_survives_its_file(study: Study) -> None:
    tree = json.loads(json.dumps(study.as_json()))
    again = Study.from_json(tree)
    assert json.loads(json.dumps(again.as_json())) == tree
    assert again.settings == study.settings


def test_the_document_shows_the_kept_results() -> None:
    kept = Study.from_json(json.loads((ROOT / "benchmarks/results/variance_study.json").read_text(encoding="utf-8")))
    assert kept.settings == StudySettings()
    assert "\n".join(report(kept)) in (ROOT / "docs/algorithm.md").read_text(encoding="utf-8")


def test_the_command_prints_tables_and_draws(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.variance_study.run_study", lambda *_: study)
    main(["--quick", "--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.svg")])
    printed = capsys.readouterr().out
    for title in ("REDUCTIONS", "BIAS WITH EXACT CRITICS", "VARIANCE AGAINST FLAT GAE", "BIAS WITH NOISY CRITICS"):
        assert title in printed
    assert json.loads((tmp_path / "a.json").read_text())["settings"]["seeds"] == QUICK.seeds
    assert "<svg" in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize("option", [("--plot", "a.gif"), ("--plot", "none/a.svg"), ("--json", "none/a.json")])
def test_an_unusable_output_is_refused_before_anything_is_computed(
    option: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("benchmarks.variance_study.run_study")
    with pytest.raises(SystemExit):
        main([option[0], str(tmp_path / option[1])])
    assert option[1] in capsys.readouterr().err
