"""`hiper warmstart`: a tiny model and tokenizer made on the spot, trained on demonstrations.

The result is a folder in Hugging Face format with `warmstart.json` beside it; it appears whole or not at all. The
same settings, seed, data and code give the same model, so it is kept in the user's cache and copied from there the
next time.
"""

import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

import hiper
from hiper import logs
from hiper.config import RunConfig
from hiper.config.sections import CompactPrompt
from hiper.durable import replace_directory, write_json
from hiper.envs.alfworld.player import PlayerConfig
from hiper.envs.base import TaskSource
from hiper.envs.configured import open_configured_source
from hiper.errors import ConfigError, DataError, RunStateError
from hiper.plan_execute import make_builder
from services.learner.demonstrations import DemonstratedTurn, DemonstrationSettings, demonstrate_tasks
from services.learner.sft import SftProgress, SftSettings, SftTurn, train_sft
from services.learner.tiny_model import build_model, save_model
from services.learner.tiny_tokenizer import build_tokenizer

__all__ = ["WarmstartReport", "run_warmstart"]

_PROGRESS_S = 5.0
_REPORT = "warmstart.json"
_CODE = ("hiper/envs/alfworld", "hiper/plan_execute", "services/learner")
"""Folders whose sources decide what a warm start gives."""


@dataclass(frozen=True, slots=True)
class WarmstartReport:
    """What was made."""

    directory: Path
    parameters: int
    vocabulary: int
    turns: int
    loss: float
    """Mean over the last hundred steps, nats per response token."""
    seconds: float
    cached: bool


def run_warmstart(config: RunConfig, output: Path) -> WarmstartReport:
    """Make the model of `config` in `output`, or return what is there.

    Raises `ConfigError`, `DataError`, and `RunStateError` when `output` holds something else.
    """
    log = logs.get()
    if (output / _REPORT).exists():
        log.info("model is there already", directory=str(output))
        return _read_report(output, cached=True)
    cache = _cache_directory(config)
    if config.warmstart.cache and (cache / _REPORT).exists():
        _copy(cache, output)
        log.info("model taken from the cache", directory=str(output))
        return _read_report(output, cached=True)
    report = _make(config, output)
    if config.warmstart.cache and not cache.exists():
        _copy(output, cache)
    log.info("warm start done", seconds=round(report.seconds, 1), loss=round(report.loss, 3), turns=report.turns)
    return report


def _make(config: RunConfig, output: Path) -> WarmstartReport:
    started = time.monotonic()
    settings, sampling = config.warmstart, config.rollout.sampling
    if config.learner.threads:
        torch.set_num_threads(config.learner.threads)
    turns = _demonstrate(config, open_configured_source(config.env))
    limit = sampling.max_prompt_tokens + sampling.max_response_tokens
    tokenizer = build_tokenizer((text for turn in turns for text in (turn.prompt, turn.response)), max_length=limit)
    model = build_model(settings, tokenizer, max_length=limit, seed=config.seed)
    losses: list[float] = []
    progress = _Progress(settings.steps)

    def on_step(at: SftProgress) -> None:
        losses.append(at.loss)
        progress(at)

    rows = _encode(turns, tokenizer, sampling.max_prompt_tokens)
    train_sft(model, rows, SftSettings(settings.steps, settings.batch_turns, settings.lr, config.seed), on_step)
    temporary = _temporary(output)
    temporary.mkdir(parents=True)
    save_model(model, tokenizer, temporary)
    tail = losses[-100:]
    tree = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocabulary": len(tokenizer),
        "turns": len(rows),
        "loss": sum(tail) / len(tail),
        "seconds": time.monotonic() - started,
        "seed": config.seed,
        "settings": settings.model_dump(mode="json"),
        "loss_curve": [round(loss, 4) for loss in losses[:: max(1, len(losses) // 100)]],
    }
    write_json(temporary / _REPORT, tree)
    _appear(temporary, output)
    return _read_report(output, cached=False)


def _demonstrate(config: RunConfig, source: TaskSource) -> list[DemonstratedTurn]:
    prompt = config.rollout.prompt
    if not isinstance(prompt, CompactPrompt):
        raise ConfigError("the warm start needs rollout.prompt.style 'compact'")
    settings = config.warmstart
    types = config.env.task_types
    ids = [
        task
        for task in source.ids(config.env.train_split)
        if not types or any(f"/{kind}" in f"/{task}" for kind in types)
    ]
    if not ids:
        raise DataError(f"split '{config.env.train_split}' has no task to demonstrate", "check env.task_types")
    rng = random.Random(config.seed)
    rng.shuffle(ids)
    chosen = [ids[number % len(ids)] for number in range(settings.episodes)]
    how = DemonstrationSettings(
        PlayerConfig(noise=settings.noise, forget=settings.forget_share),
        settings.stumble,
        config.env.max_steps,
        frozenset(prompt.hidden_actions),
    )
    builder = make_builder(prompt, config.env.name)
    return [turn for episode in demonstrate_tasks(source, chosen, builder, how, rng) for turn in episode]


def _encode(
    turns: Sequence[DemonstratedTurn], tokenizer: PreTrainedTokenizerBase, max_prompt_tokens: int
) -> list[SftTurn]:
    """Turn texts into rows; a prompt over the limit is left out, as the rollout would refuse it."""
    rows = []
    for turn in turns:
        prompt = tokenizer.encode(turn.prompt, add_special_tokens=False)
        response = [*tokenizer.encode(turn.response, add_special_tokens=False), tokenizer.eos_token_id]
        if len(prompt) <= max_prompt_tokens:
            rows.append(SftTurn(tuple(prompt), tuple(response)))
    if not rows:
        raise DataError(
            f"no demonstrated prompt fits in {max_prompt_tokens} tokens", "raise rollout.sampling.max_prompt_tokens"
        )
    return rows


class _Progress:
    """Says every few seconds how far training is."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._said_s = 0.0
        self._log = logs.get()

    def __call__(self, at: SftProgress) -> None:
        if at.seconds - self._said_s >= _PROGRESS_S or at.step == self._steps:
            self._said_s = at.seconds
            self._log.info(
                "warm start",
                step=at.step,
                of=self._steps,
                loss=round(at.loss, 3),
                tokens_per_s=round(at.tokens / max(at.seconds, 1e-6)),
                seconds_left=round(at.seconds / at.step * (self._steps - at.step)),
            )


def _read_report(directory: Path, *, cached: bool) -> WarmstartReport:
    tree = json.loads((directory / _REPORT).read_text(encoding="utf-8"))
    numbers = {name: tree[name] for name in ("parameters", "vocabulary", "turns", "loss", "seconds")}
    return WarmstartReport(directory=directory, cached=cached, **numbers)


def _copy(source: Path, target: Path) -> None:
    temporary = _temporary(target)
    shutil.copytree(source, temporary)
    _appear(temporary, target)


def _temporary(target: Path) -> Path:
    """A path beside `target` that does not exist; its parent does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    return temporary


def _appear(temporary: Path, target: Path) -> None:
    """Rename to `target`, unless another process has made the same model there meanwhile."""
    try:
        replace_directory(temporary, target)
    except OSError as error:
        shutil.rmtree(temporary)
        if not (target / _REPORT).exists():
            raise RunStateError(
                f"cannot write the model to {target}: {error.strerror}", "name a folder that does not exist"
            ) from error


def _cache_directory(config: RunConfig) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "hiper" / "warmstart" / _fingerprint(config)


def _fingerprint(config: RunConfig) -> str:
    """Hash of everything the model depends on: settings, seed, data, versions, sources."""
    data = config.env.data
    tree = {
        "warmstart": config.warmstart.model_dump(mode="json"),
        "env": config.env.model_dump(mode="json", exclude={"addresses"}),
        "prompt": config.rollout.prompt.model_dump(mode="json"),
        "limits": [config.rollout.sampling.max_prompt_tokens, config.rollout.sampling.max_response_tokens],
        "seed": config.seed,
        "threads": config.learner.threads,
        "data": [data.stat().st_size, data.stat().st_mtime_ns] if data is not None and data.exists() else None,
        "versions": [hiper.__version__, torch.__version__],
    }
    digest = hashlib.sha256(json.dumps(tree, sort_keys=True).encode())
    root = Path(hiper.__file__).resolve().parent.parent
    for folder in _CODE:
        for path in sorted((root / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]
