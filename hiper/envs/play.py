"""Playing a list of actions in one episode: what `hiper env play` prints, line by line (design.md, "Command line")."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hiper.envs.base import StepResult, TaskSource
from hiper.envs.panels import held_out_split
from hiper.envs.registry import open_source
from hiper.errors import ConfigError
from hiper.vocabulary import EnvName

__all__ = ["PlayRequest", "play"]


@dataclass(frozen=True, slots=True)
class PlayRequest:
    """Which task to play, and under which limit."""

    env: str
    data: str | Path | None
    """Folder or archive; None for generated tasks."""
    task: str | None
    """Task id, or any other spelling the environment accepts (see its source's `resolve`). None: the first held-out."""
    max_steps: int | None = None
    """0 = no limit; None: the task's own (50, in horizon games 50 a sub-task)."""
    seed: int | None = None
    """Of the task source (WebShop's order of goals; None: its default) and of the episode."""
    observation: str | None = None
    """WebShop: `text`, the default, or `text_rich`."""


def play(request: PlayRequest, actions: Iterable[str]) -> Iterator[dict[str, object]]:
    """Yield one JSON object for the reset and one per action, in order.

    Actions are consumed one at a time, so they may come from a person. Raises `EpisodeOver` when an action follows the
    end, after everything before it has been yielded, `DataError` for a task or data that cannot be used, and
    `ConfigError` for an environment or observation mode there is not.
    """
    source = _open(request)
    task = _any_task(source) if request.task is None else source.resolve(request.task)
    limit = {} if request.max_steps is None else {"max_steps": request.max_steps}
    episode = source.open(task, seed=request.seed or 0, **limit)
    yield _line(0, None, episode.reset())
    for action in actions:
        result = episode.step(action)
        yield _line(episode.steps, action, result)


def _any_task(source: TaskSource) -> str:
    return source.ids(held_out_split(source.splits()))[0]


def _open(request: PlayRequest) -> TaskSource:
    if request.env != EnvName.WEBSHOP:
        if request.observation is not None:
            raise ConfigError(f"{request.env} has no observation modes", "leave out --observation")
        return open_source(request.env, request.data, seed=request.seed)
    from hiper.envs.webshop.generator import catalogue_of_task
    from hiper.envs.webshop.text import Observation

    mode = request.observation or Observation.TEXT
    if mode not in tuple(Observation):
        raise ConfigError(f"there is no observation mode {mode!r}", f"use one of {', '.join(Observation)}")
    observation = Observation(mode)
    if request.data is not None:
        return open_source(request.env, request.data, seed=request.seed, observation=observation)
    spec = catalogue_of_task(request.task or "")
    return open_source(request.env, seed=request.seed, observation=observation, spec=spec)


def _line(step: int, action: str | None, result: StepResult) -> dict[str, object]:
    line: dict[str, object] = {
        "step": step,
        "action": action,
        "observation": result.observation,
        "admissible": list(result.admissible),
    }
    if result.has_search_bar is not None:
        line["has_search_bar"] = result.has_search_bar
    return line | {
        "reward": result.reward,
        "terminated": result.terminated,
        "truncated": result.truncated,
        "won": result.won,
        "score": result.score,
    }
