"""What vLLM is told about the machine before it starts."""

import os
from pathlib import Path

import pytest

from hiper.config import RunConfig
from services.rollout.vllm_start import prepare_environment


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})


@pytest.mark.parametrize(("compiler", "disabled"), [(None, True), ("g++", False), ("gcc", False)])
def test_nothing_is_compiled_where_there_is_no_compiler(compiler: str | None, disabled: bool, tmp_path: Path) -> None:
    """vLLM compiles small functions even in eager mode; without a compiler the first request killed the engine."""
    if compiler:
        (tmp_path / compiler).write_text("")
        (tmp_path / compiler).chmod(0o755)
    os.environ["PATH"] = str(tmp_path)
    prepare_environment(RunConfig())
    assert (os.environ.get("TORCHDYNAMO_DISABLE") == "1") == disabled


def test_what_is_given_wins() -> None:
    os.environ["TORCHDYNAMO_DISABLE"] = "0"
    prepare_environment(RunConfig())
    assert os.environ["TORCHDYNAMO_DISABLE"] == "0"
