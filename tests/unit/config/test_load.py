"""Loading settings: precedence, inheritance, and errors that name the nearest valid word."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.config import RunConfig, config_hash, load_config, parse_config
from hiper.errors import ConfigError


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str, name: str = "run.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return _write


def test_file_then_environment_then_overrides(write) -> None:
    path = write("seed: 1\nlearner: {actor: {lr: 1.0e-4}}\nenv: {max_steps: 20}\n")
    environment = {"HIPER_LEARNER__ACTOR__LR": "2e-4", "HIPER_ENV__MAX_STEPS": "30"}
    config = load_config(path, environment=environment, overrides={"env.max_steps": 40})
    assert (config.seed, config.learner.actor.lr, config.env.max_steps) == (1, 2e-4, 40)
    assert config.learner.critic.lr == RunConfig().learner.critic.lr


def test_extends_merges_below(write) -> None:
    write("seed: 5\nlearner: {iterations: 9, actor: {lr: 0.1}}\n", "base.yaml")
    config = load_config(write("extends: base.yaml\nlearner: {iterations: 2}\n"), environment={})
    assert (config.seed, config.learner.iterations, config.learner.actor.lr) == (5, 2, 0.1)


def test_another_variant_replaces_the_one_below(write) -> None:
    write(
        "hae: {estimator: {name: hae, mode: compat}}\n"
        "learner: {samples_per_task: 4, critic_warmup_iterations: 0, backend: {name: deepspeed, stage: 3}}\n",
        "base.yaml",
    )
    path = write("extends: base.yaml\nhae: {estimator: {name: grpo, norm: mean}}\nlearner: {backend: {stage: 1}}\n")
    config = load_config(path, environment={})
    assert config.hae.estimator.model_dump().items() >= {"name": "grpo", "norm": "mean"}.items()
    assert config.learner.backend.model_dump().items() >= {"name": "deepspeed", "stage": 1}.items()
    torch = load_config(path, environment={}, overrides={"learner.backend.name": "torch"})
    assert torch.learner.backend.name == "torch"
    same = load_config(path, environment={}, overrides={"learner.backend.name": "deepspeed"})
    assert same.learner.backend == config.learner.backend, "the variant is the one below: its keys stay"


@pytest.mark.parametrize("keys", [("mode", "name"), ("name", "mode")])
def test_a_variant_and_its_keys_are_set_together_in_any_order(keys: tuple[str, str]) -> None:
    tree = {"hae": {"estimator": {"name": "gae", "lam": 0.5}}}
    values = {"name": "hae", "mode": "compat"}
    variables = {f"HIPER_HAE__ESTIMATOR__{key.upper()}": values[key] for key in keys}
    overrides = {f"hae.estimator.{key}": values[key] for key in keys}
    by_variable = parse_config(tree, source="test", environment=variables)
    by_override = parse_config(tree, source="test", environment={}, overrides=overrides)
    assert by_variable == by_override == parse_config({"hae": {"estimator": values}}, source="test", environment={})


def test_file_that_extends_itself_is_refused(write) -> None:
    with pytest.raises(ConfigError, match="extends itself"):
        load_config(write("extends: run.yaml\n"), environment={})


@pytest.mark.parametrize(
    ("text", "named", "nearest"),
    [
        ("lerner: {}\n", "lerner", "learner"),
        ("learner: {iteration: 3}\n", "learner.iteration", "iterations"),
        ("learner: {actor: {learning: 1}}\n", "learner.actor.learning", "lr"),
        ("hae: {estimator: {name: hae, lam_hi: 1}}\n", "lam_hi", "lam_"),
        ("rollout: {prompt: {style: compact, histori_turns: 1}}\n", "histori_turns", "history_turns"),
    ],
)
def test_unknown_key_names_the_nearest(write, text: str, named: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(text), environment={})
    line = str(caught.value)
    assert named in line
    assert nearest in line
    assert "\n" not in line


def test_unknown_environment_variable_names_the_nearest(write) -> None:
    with pytest.raises(ConfigError, match=r"HIPER_SEDE.*HIPER_SEED"):
        load_config(write(""), environment={"HIPER_SEDE": "1"})
    with pytest.raises(ConfigError, match=r"learner\.iter"):
        load_config(write(""), environment={"HIPER_LEARNER__ITER": "1"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "mapping"),
        ("seed: [\n", "not valid YAML"),
        ("seed: many\n", "seed"),
        ("learner: {dual_clip: 0.5}\n", "learner.dual_clip"),
        ("broker: {block_ms: 60000}\n", "block_ms must be shorter"),
        ("warmstart: {enabled: true}\n", "compact"),
        ("run: Not a name\n", "run"),
        ("hae: {estimator: {name: grpo}}\n", "samples_per_task must be at least 2"),
        ("hae: {estimator: {name: hae, mode: paper}}\n", "hae compute --mode paper"),
        ("hae: {estimator: {name: ppo_token}}\n", "needs a value at every token"),
        ("hae: {estimator: {name: reinforce++}, whiten: true}\n", "normalisation of its own"),
        (
            "hae: {estimator: {name: rloo}}\nlearner: {samples_per_task: 4, critic_warmup_iterations: 1}\n",
            "critic_warmup_iterations: 'rloo' has no critic",
        ),
        ("hae: {estimator: {name: reinforce++}}\nmodel: {critic_path: x}\n", "model.critic_path"),
    ],
)
def test_bad_file_is_one_line(write, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(text), environment={})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml", environment={})


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"broker": {"url": "redis://:pw@h:1"}}, True),
        ({"env": {"addresses": ["h:1"]}}, True),
        ({"learner": {"critic_port": 9000}}, True),
        ({"supervisor": {"scale": {"rollout": 2}}}, True),
        ({"seed": 1}, False),
        ({"learner": {"iterations": 9}}, False),
    ],
)
def test_hash_ignores_what_may_differ_each_time_and_nothing_else(change: dict[str, Any], same: bool) -> None:
    changed = parse_config({"run": "r", **change}, source="test", environment={})
    assert (config_hash(changed) == config_hash(parse_config({"run": "r"}, source="test", environment={}))) is same


def test_secret_is_not_shown() -> None:
    config = parse_config({"broker": {"url": "redis://:hunter2@localhost:1"}}, source="test", environment={})
    assert "hunter2" not in repr(config)
    assert "hunter2" not in config.model_dump_json()


@given(st.dictionaries(st.text(min_size=1, max_size=12), st.integers() | st.text() | st.none(), max_size=4))
def test_any_mapping_loads_or_is_refused(tree: dict[str, object]) -> None:
    with contextlib.suppress(ConfigError):  # any other exception fails the test
        parse_config(tree, source="test", environment={})


def test_overrides_do_not_reach_the_callers_tree() -> None:
    tree = {"env": {"max_steps": 15}}
    parse_config(tree, source="test", environment={}, overrides={"env.max_steps": 20, "env.task_types": []})
    assert tree == {"env": {"max_steps": 15}}
