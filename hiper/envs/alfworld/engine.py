"""One ALFWorld episode: a `World` with a step count, a step limit and the original's scoring (spec 1.6, 1.7)."""

from hiper.envs.alfworld.model import Game
from hiper.envs.alfworld.world import NOTHING_HAPPENS, World
from hiper.envs.base import EpisodeOver, StepResult

__all__ = ["AlfworldEpisode"]


class AlfworldEpisode:
    """Plays `game`; at most `max_steps` actions, 0 for no limit. Actions that are not on offer count as steps."""

    __slots__ = ("_game", "_max_steps", "_over", "_steps", "_world")

    def __init__(self, game: Game, max_steps: int = 50) -> None:
        if max_steps < 0:
            raise ValueError(f"max_steps must be 0 (no limit) or more, not {max_steps}")
        self._game = game
        self._max_steps = max_steps
        self._start()

    def _start(self) -> None:
        self._world = World(self._game)
        self._steps = 0
        self._over = False

    @property
    def game(self) -> Game:
        """The game being played, shared with other sessions."""
        return self._game

    @property
    def steps(self) -> int:
        """Actions played since the last reset."""
        return self._steps

    def reset(self) -> StepResult:
        """Start again; the answer is the first observation."""
        self._start()
        return StepResult(self._game.opening, self._world.admissible)

    def step(self, action: str) -> StepResult:
        """Play one action; blanks around it do not matter, everything else does. Raises `EpisodeOver` after the end."""
        if self._over:
            raise EpisodeOver(self._steps)
        world = self._world
        text = world.act(action.strip())
        self._steps += 1
        won = world.won
        truncated = not won and self._steps == self._max_steps
        self._over = won or truncated
        score = 1.0 if won else 0.0
        return StepResult(
            observation=NOTHING_HAPPENS if text is None else text,
            admissible=world.admissible,
            reward=score,
            terminated=won,
            truncated=truncated,
            won=won,
            score=score,
            action_valid=text is not None,
        )
