"""The run files of configs/: each is valid and says what it is for; the paper's have its settings and a plan."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hiper.cli.main import app
from hiper.config import RunConfig, load_config

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
RECIPES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
SETTINGS = [f"{env}-qwen2.5-{size}" for env in ("alfworld", "webshop") for size in ("1.5b", "7b")]
BASELINES = {"ppo": "gae", "grpo": "grpo", "gigpo": "gigpo"}


def recipe(name: str) -> RunConfig:
    return load_config(CONFIGS / f"{name}.yaml", environment={})


def test_the_papers_four_settings_and_their_baselines_are_there() -> None:
    assert {*SETTINGS, *(f"{setting}-{kind}" for setting in SETTINGS for kind in BASELINES)} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_every_run_file_is_valid_and_begins_with_a_word_about_it(name: str) -> None:
    done = CliRunner().invoke(app, ["config", "check", name])
    assert done.exit_code == 0, done.exception
    assert (CONFIGS / f"{name}.yaml").read_text().startswith("# ")


@pytest.mark.parametrize("name", SETTINGS)
def test_the_papers_settings_are_the_released_ones(name: str) -> None:
    config = recipe(name)
    learner, sampling, webshop = config.learner, config.rollout.sampling, name.startswith("webshop")
    assert config.model.path.lower() == f"qwen/{name.partition('-')[2]}-instruct"
    assert (config.batch_size, learner.iterations, learner.max_staleness) == (128, 150, 0)
    assert (learner.actor.lr, learner.critic.lr, learner.actor.minibatch_rows) == (1e-6, 1e-5, 256)
    assert (learner.clip_low, learner.dual_clip, learner.value_clip, learner.kl_coef) == (0.2, 3.0, 0.5, 0.01)
    assert (config.env.max_steps, sampling.max_prompt_tokens) == ((15, 4096) if webshop else (50, 2048))
    assert config.reward.keep_penalty == (-3.5 if webshop else -0.3)
    assert config.hae.estimator.name == "hae"
    assert learner.backend.name == ("deepspeed" if name.endswith("7b") else "torch")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", BASELINES)
def test_baselines_differ_in_credit_alone(setting: str, kind: str) -> None:
    config, base = recipe(f"{setting}-{kind}"), recipe(setting)
    assert config.hae.estimator.name == BASELINES[kind]
    assert config.batch_size == base.batch_size == 128
    assert config.learner.samples_per_task == (1 if kind == "ppo" else 8)
    assert (config.env, config.rollout, config.evaluation) == (base.env, base.rollout, base.evaluation)
    assert config.learner.backend == base.learner.backend
    assert (config.reward.keep_penalty, config.reward.consistency) == (0, 0)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_dry_run_says_what_each_gpu_would_take(name: str) -> None:
    arguments = ["config", "plan", name, "--learners", "8", "--rollouts", "4"]
    plans = json.loads(CliRunner().invoke(app, [*arguments, "-o", "json"]).stdout)
    h200 = next(plan for plan in plans if plan["gpu"] == "H200")
    assert h200["fits"]
    assert 0 < h200["learner_gib"] < 141
    assert h200["run_h"] > 1
    text = CliRunner().invoke(app, arguments).stdout
    assert all(plan["gpu"] in text for plan in plans)


def test_a_model_of_unknown_size_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("model: {path: someone/else}\n")
    done = CliRunner().invoke(app, ["config", "plan", str(path)])
    assert "the sizes of 'someone/else' are not known" in str(done.exception)
