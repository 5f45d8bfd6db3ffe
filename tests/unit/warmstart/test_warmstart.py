"""The warm start leaves a complete model folder, and the cache gives the same model for the same question only."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the learner's packages are not installed")
pytest.importorskip("transformers", reason="the learner's packages are not installed")

from transformers import AutoModelForCausalLM, AutoTokenizer

from hiper.config import RunConfig, parse_config
from hiper.errors import ConfigError, DataError, RunStateError
from services.learner.warmstart import run_warmstart

TREE = {
    "env": {"synthetic_train": 20, "synthetic_valid": 4, "max_steps": 15},
    "rollout": {
        "prompt": {"style": "compact"},
        "sampling": {"max_response_tokens": 24, "max_prompt_tokens": 160},
    },
    "warmstart": {"enabled": True, "episodes": 8, "steps": 3, "batch_turns": 8, "hidden_size": 32, "layers": 1},
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _config(**overrides: object) -> RunConfig:
    return parse_config(TREE, source="test", environment={}, overrides=overrides)


def _weights(directory: Path) -> bytes:
    return (directory / "model.safetensors").read_bytes()


def test_the_folder_loads_as_any_model_does(tmp_path: Path) -> None:
    report = run_warmstart(_config(), tmp_path / "run" / "model")
    assert not report.cached
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["model"]
    model = AutoModelForCausalLM.from_pretrained(report.directory)
    tokenizer = AutoTokenizer.from_pretrained(report.directory)
    assert model.num_parameters() == report.parameters
    assert model.config.vocab_size == len(tokenizer) == report.vocabulary
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    prompt = tokenizer.encode("|obs You open the fridge 1. |acts open fridge 1 |goal none |turn")
    assert prompt
    assert tokenizer.unk_token_id not in prompt


def test_the_same_question_is_answered_from_the_cache(tmp_path: Path) -> None:
    first = run_warmstart(_config(), tmp_path / "first")
    second = run_warmstart(_config(), tmp_path / "second")
    assert second.cached
    assert _weights(second.directory) == _weights(first.directory)
    assert not run_warmstart(_config(seed=1), tmp_path / "third").cached


def test_without_the_cache_the_same_model_is_made_again(tmp_path: Path) -> None:
    settings = _config(**{"warmstart.cache": False})
    first, second = (run_warmstart(settings, tmp_path / name) for name in ("first", "second"))
    assert not second.cached
    assert _weights(second.directory) == _weights(first.directory)
    assert not (tmp_path / "cache").exists()


def test_a_model_that_is_there_is_kept(tmp_path: Path) -> None:
    run_warmstart(_config(), tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    assert run_warmstart(_config(seed=1), tmp_path / "model").cached
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_with_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(RunStateError, match="model"):
        run_warmstart(_config(), tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"env.task_types": ["no_such_type"]}, (ConfigError, DataError)),
        ({"rollout.prompt.style": "chat", "warmstart.enabled": False}, ConfigError),
        ({"rollout.sampling.max_prompt_tokens": 3}, DataError),
    ],
)
def test_what_cannot_be_learned_is_refused(
    tmp_path: Path, overrides: dict[str, object], error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    with pytest.raises(error):
        run_warmstart(_config(**overrides), tmp_path / "model")
    assert not (tmp_path / "model").exists()
