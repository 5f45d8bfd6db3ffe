"""The interface every text environment offers: a source of tasks, and episodes that play one task.

Invariants every implementation keeps (spec/environments.md, sections 4 and 5):
- An episode is a plain function of (task, seed, actions): no clock, no global random generator, no shared
  mutable state.
- Any string is a legal argument of `Episode.step`; an action that is not offered is answered, counted and marked
  `action_valid = False`. Only a step after the end raises.
- `terminated` (the environment ended the episode) and `truncated` (the step limit did) are never both true.
- Observations are the environment's raw text; prompts and reward scaling are other parts' business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from hiper.errors import HiperError

__all__ = ["Episode", "EpisodeOver", "StepResult", "TaskInfo", "TaskPin", "TaskSource"]


class EpisodeOver(HiperError):  # noqa: N818 - an expected answer to a player, not a defect
    """An action was sent to an episode that has ended."""

    def __init__(self, steps: int) -> None:
        super().__init__(f"the episode ended after step {steps}: it takes no further action", "reset it to play again")


@dataclass(frozen=True, slots=True)
class StepResult:
    """What an episode shows after a reset (reward 0, `action_valid` true) or an action."""

    observation: str
    """The environment's own text."""
    admissible: tuple[str, ...]
    """Actions offered now, in the order the original lists them; never empty before the end."""
    reward: float = 0.0
    """Reward of this step as the original environment gives it, before any scaling."""
    terminated: bool = False
    """The environment ended the episode."""
    truncated: bool = False
    """The step limit ended the episode."""
    won: bool = False
    """The task is solved."""
    score: float = 0.0
    """Outcome so far, in [0, 1]."""
    action_valid: bool = True
    """Whether the action was on offer when it was played."""
    has_search_bar: bool | None = None
    """WebShop: whether `search[...]` is possible now; None in environments without a search bar."""

    @property
    def done(self) -> bool:
        """Whether the episode has ended, for either reason."""
        return self.terminated or self.truncated


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """One task, described without opening an episode."""

    task_id: str
    env: str
    task_type: str
    split: str
    sha256: str
    """Hash of the task's content, hexadecimal: what a panel pins."""
    goal: str
    """The task sentence shown to the player."""
    shortest_plan: int | None = None
    """Actions of the shortest plan, where it is known: in horizon games."""


@dataclass(frozen=True, slots=True)
class TaskPin:
    """What identifies the content of one task: cheap to find, so that thousands can be listed (section 5)."""

    task_id: str
    task_type: str
    split: str
    sha256: str = ""
    """Hash of the task's content, hexadecimal; for a game file that of its bytes."""
    content_sha256: str = ""
    """Hash of what the engine reads of it, the same for a re-serialised file; in full pins of game files only."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What the environment drew for the task (`hiper.envs.panels.PanelTask` names them); in full pins only."""


@runtime_checkable
class Episode(Protocol):
    """One live instance of a task. Not thread-safe: one player at a time."""

    @property
    def steps(self) -> int:
        """Actions played since the last reset."""
        ...

    def reset(self) -> StepResult:
        """Start again from the first observation; the same actions then give the same answers."""
        ...

    def step(self, action: str) -> StepResult:
        """Play one action. Raises `EpisodeOver` after the end."""
        ...


@runtime_checkable
class TaskSource(Protocol):
    """A set of tasks of one environment, divided into splits. Safe to share between threads."""

    @property
    def env(self) -> str:
        """Environment name, e.g. `alfworld`."""
        ...

    @property
    def version(self) -> str:
        """Version of the data, e.g. `2.1.2` or `synthetic`."""
        ...

    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have tasks."""
        ...

    def ids(self, split: str) -> list[str]:
        """Task ids of `split`, sorted. Raises `DataError` for an unknown split."""
        ...

    def resolve(self, task: str) -> str:
        """Canonical id of `task`, which may be given in any spelling the environment accepts."""
        ...

    def fingerprint(self) -> Mapping[str, str]:
        """What all tasks share and a panel pins: `version`, hashes of common files and texts, seeds of draws."""
        ...

    def pin(self, task_id: str, *, full: bool = False) -> TaskPin:
        """Identify the content of one task without parsing it; a `full` pin may take as long as `describe`.

        Raises `DataError` when the task is unknown, and a full pin also when its data is corrupt.
        """
        ...

    def describe(self, task_id: str) -> TaskInfo:
        """Describe one task. Raises `DataError` when it is unknown or its data is corrupt."""
        ...

    def open(self, task_id: str, *, seed: int = 0, max_steps: int = 50) -> Episode:
        """Begin an episode. `max_steps` 0 means no limit. Raises `DataError` as `describe` does."""
        ...
