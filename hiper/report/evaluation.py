"""The report of one evaluation: what was played, by whom, under which settings, and what came of it.

It can be written at any time and read again: an evaluation that was stopped goes on with the episodes it lacks, if
model, panel and settings are those it was begun with. Every figure is computed from the episodes, none is stored alone.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hiper.durable import JsonValue, write_json
from hiper.envs.panels import Panel
from hiper.errors import DataError, RunStateError
from hiper.report.checkpoint import Checkpoint
from hiper.statistics import mean_interval, success_row

__all__ = ["Conditions", "Evaluation", "PlayedEpisode", "evaluation_lines", "read_evaluation"]

_SCHEMA_VERSION = 1
_ANOTHER = "choose another --out, or remove the file to begin again"


@dataclass(frozen=True, slots=True)
class PlayedEpisode:
    """One task of the panel, played once."""

    task_id: str
    task_sha256: str
    """Of the task's content, as the panel has it."""
    task_type: str
    won: bool = False
    score: float = 0.0
    """Of the environment, in [0, 1]."""
    turns: int = 0
    truncated: bool = False
    """The step limit ended it."""
    clipped: int = 0
    """Responses that reached their limit."""
    malformed: int = 0
    """Responses without a readable switch, sub-goal or action."""
    inadmissible: int = 0
    """Actions that were not on offer."""
    prompt_tokens: int = 0
    response_tokens: int = 0
    abandoned: str = ""
    """Why it could not be played to an end (`hiper.vocabulary.Abandonment`); empty if it was."""
    error: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Two episodes of the same key are of the same task."""
        return self.task_id, self.task_sha256


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must be the same for two episodes to belong to one evaluation."""

    model: Mapping[str, Any]
    """`path`, policy `version` and `sha256`; the path may change."""
    panel: Mapping[str, Any]
    """`name`, `sha256`, `env`, `tasks` and `ceiling`."""
    settings: Mapping[str, Any]
    """What bears on how an episode goes: prompt, sampling, temperature, seed, step limit, ..."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, panel: Panel, settings: Mapping[str, Any]) -> "Conditions":
        """The conditions of playing `panel` with a model."""
        model = {"path": checkpoint.path, "version": checkpoint.version, "sha256": checkpoint.sha256}
        played = {"name": panel.name, "sha256": panel.sha256, "env": panel.env, "tasks": len(panel.tasks)}
        return cls(model, {**played, "ceiling": panel.ceiling}, settings)

    def first_difference(self, other: "Conditions") -> str:
        """What differs first, in words; empty if nothing does."""
        if self._model_key() != other._model_key():
            return f"it is of another model, {self.model.get('path')}"
        if self.panel.get("sha256") != other.panel.get("sha256"):
            return f"it is of another panel, {self.panel.get('name')}"
        for name in sorted(self.settings.keys() | other.settings.keys()):
            there, here = self.settings.get(name), other.settings.get(name)
            if there != here:
                return f"{name} is {json.dumps(there)} there and {json.dumps(here)} now"
        return ""

    def _model_key(self) -> object:
        return self.model.get("sha256") or self.model.get("path")


@dataclass(slots=True)
class Evaluation:
    """An evaluation as far as it has come."""

    conditions: Conditions
    episodes: dict[str, PlayedEpisode] = field(default_factory=dict)
    """By task id."""
    seconds: float = 0.0
    """Spent playing, over all sittings."""

    @property
    def complete(self) -> bool:
        """Whether every task was played, or cannot be."""
        return len(self.episodes) >= int(self.conditions.panel["tasks"])

    def add(self, episode: PlayedEpisode) -> None:
        """Enter an episode; one of the same task is replaced."""
        self.episodes[episode.task_id] = episode

    def resume(self, earlier: "Evaluation", path: Path) -> None:
        """Take over what was played before; what was abandoned is played again. Raises `RunStateError`."""
        if difference := earlier.conditions.first_difference(self.conditions):
            raise RunStateError(f"{path} cannot be gone on with: {difference}", _ANOTHER)
        self.episodes = {name: episode for name, episode in earlier.episodes.items() if not episode.abandoned}
        self.seconds = earlier.seconds

    def result(self) -> dict[str, Any]:
        """The figures: over all that was played to an end, and by task type."""
        played = [episode for episode in self.episodes.values() if not episode.abandoned]
        kinds = sorted({episode.task_type for episode in played})
        return {
            **_figures(played),
            "turns": sum(episode.turns for episode in played),
            "truncated_episodes": sum(episode.truncated for episode in played),
            "clipped_responses": sum(episode.clipped for episode in played),
            "malformed_responses": sum(episode.malformed for episode in played),
            "inadmissible_actions": sum(episode.inadmissible for episode in played),
            "prompt_tokens": sum(episode.prompt_tokens for episode in played),
            "response_tokens": sum(episode.response_tokens for episode in played),
            "abandoned": dict(Counter(one.abandoned for one in self.episodes.values() if one.abandoned)),
            "by_task_type": {kind: _figures([one for one in played if one.task_type == kind]) for kind in kinds},
        }

    def document(self) -> dict[str, JsonValue]:
        """The report."""
        ordered = [self.episodes[name] for name in sorted(self.episodes)]
        return {
            "evaluation": _SCHEMA_VERSION,
            "complete": self.complete,
            "seconds": round(self.seconds, 3),
            **asdict(self.conditions),
            "result": self.result(),
            "episodes": [asdict(episode) for episode in ordered],
        }

    def write(self, path: Path) -> None:
        """Write the report, atomically. Raises `DataError` if that is not possible."""
        try:
            write_json(path, self.document())
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}", "choose another --out") from error


def read_evaluation(path: Path) -> Evaluation:
    """Read what `Evaluation.write` wrote. Raises `DataError`."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        if tree["evaluation"] != _SCHEMA_VERSION:
            raise DataError(f"{path} has form {tree['evaluation']}, known is {_SCHEMA_VERSION}", _ANOTHER)
        conditions = Conditions(dict(tree["model"]), dict(tree["panel"]), dict(tree["settings"]))
        episodes = [PlayedEpisode(**episode) for episode in tree["episodes"]]
        seconds, _ = float(tree["seconds"]), int(conditions.panel["tasks"])
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}", "give a report of `hiper eval`") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no report of `hiper eval`", _ANOTHER) from error
    return Evaluation(conditions, {episode.task_id: episode for episode in episodes}, seconds)


def evaluation_lines(evaluation: Evaluation) -> list[str]:
    """The report in a few lines for a terminal."""
    model, panel, result = evaluation.conditions.model, evaluation.conditions.panel, evaluation.result()
    version = "" if model["version"] is None else f", version {model['version']}"
    ended = "complete" if evaluation.complete else f"NOT complete: {len(evaluation.episodes)} of {panel['tasks']} tasks"
    lines = [
        f"{model['path']}{version}, temperature {evaluation.conditions.settings['temperature']:g}: {ended}",
        f"panel {panel['name']}, {panel['tasks']} tasks, sha256 {panel['sha256'][:16]}",
        "",
        f"{'':34}{'success':>8}  {'95 % interval':18}{'won':>9}{'score':>8}{'turns':>8}",
        _row("all", result),
        *(_row(kind, row) for kind, row in result["by_task_type"].items()),
        "",
    ]
    if panel.get("ceiling") is not None:
        lines.append(f"best mean score there is: {panel['ceiling']:.3f}")
    lines += [
        f"episodes cut by the step limit: {_of(result['truncated_episodes'], result['played'])}; "
        f"responses cut by their limit: {_of(result['clipped_responses'], result['turns'])}",
        f"malformed responses: {_of(result['malformed_responses'], result['turns'])}; "
        f"actions that were not on offer: {_of(result['inadmissible_actions'], result['turns'])}",
    ]
    if result["abandoned"]:
        reasons = ", ".join(f"{reason} {count}" for reason, count in result["abandoned"].items())
        first = next(episode for episode in evaluation.episodes.values() if episode.abandoned)
        lines.append(f"NOT counted, as they could not be played: {reasons}; the first, {first.task_id}: {first.error}")
    return lines


def _figures(played: Sequence[PlayedEpisode]) -> dict[str, Any]:
    count = max(1, len(played))
    scores = [episode.score for episode in played]
    low, high = mean_interval(scores)
    return {
        **success_row(sum(episode.won for episode in played), len(played)),
        "mean_score": sum(scores) / count,
        "score_low": max(0.0, low),
        "score_high": min(1.0, high),
        "mean_turns": sum(episode.turns for episode in played) / count,
    }


def _row(name: str, row: Mapping[str, Any]) -> str:
    interval = f"{row['low']:.1%} to {row['high']:.1%}"
    won = f"{row['won']} / {row['played']}"
    rates = f"{row['mean_score']:8.3f}{row['mean_turns']:8.1f}"
    return f"{name:34}{row['success']:8.1%}  {interval:18}{won:>9}{rates}"


def _of(number: int, whole: int) -> str:
    return f"{number} of {whole}"
