"""Reward terms that are not built in: found at start, called with a deadline, believed only after a look.

A term that cannot be found or does not take its options is refused at start. One that raises, overruns, or returns
anything but one finite number per turn is a `TermError` for that trajectory, counted by term and reason.
"""

import asyncio
import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory
from hiper.advantages.columns import FloatArray
from hiper.config.sections import RewardSettings, TermSettings
from hiper.errors import HiperError
from hiper.metrics import counter, histogram
from hiper.plugins import PluginSite, one_line
from hiper.rewards import ENTRY_POINT_GROUP, TrajectoryView
from services.reward.calls import BoundedThreads, CallFailed, Overdue, within
from services.reward.judge import HttpJudge

__all__ = ["PluginTerms", "TermError"]

_Call = Callable[[TrajectoryView], Awaitable[Sequence[float]]]


class TermError(HiperError):
    """A term failed on one trajectory."""

    def __init__(self, term: str, reason: str, message: str) -> None:
        super().__init__(f"reward term '{term}' {message}")
        self.term = term
        self.reason = reason
        """`raised`, `deadline`, `length` or `value`."""


@dataclass(frozen=True, slots=True)
class _Term:
    name: str
    settings: TermSettings
    call: _Call
    """Raises `Overdue` or `CallFailed`."""

    async def rewards(self, trajectory: TrajectoryView) -> FloatArray:
        """Weighted rewards, [turns]. Raises `TermError`."""
        started = time.perf_counter()
        try:
            given = await self.call(trajectory)
        except Overdue:
            bound_s = self.settings.timeout_s
            raise TermError(self.name, "deadline", f"did not end within {bound_s:g} s (timeout_s)") from None
        except CallFailed as error:
            raise TermError(self.name, "raised", f"raised {one_line(error.__cause__)}") from error
        finally:
            histogram("reward_term_duration_seconds").labels(term=self.name).observe(time.perf_counter() - started)
        return self.settings.weight * self._checked(given, len(trajectory.turns))

    def _checked(self, given: Sequence[float], turns: int) -> FloatArray:
        try:
            numbers = np.asarray(given)
        except ValueError:  # lists of unequal lengths
            numbers = np.empty(0, dtype=object)
        if numbers.dtype.kind not in "biuf":
            raise TermError(self.name, "value", f"returned a {type(given).__name__} that is no list of numbers")
        if numbers.shape != (turns,):
            shape = "one number" if numbers.ndim == 0 else " x ".join(map(str, numbers.shape)) + " numbers"
            raise TermError(self.name, "length", f"returned {shape} for {turns} turns")
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            raise TermError(self.name, "value", f"returned {numbers[wrong[0]]} for turn {wrong[0]}")
        return numbers.astype(np.float64)


class PluginTerms:
    """The terms of `reward.terms`. Close it at the end."""

    def __init__(self, settings: RewardSettings) -> None:
        """Find every term. Raises `ConfigError` that names the first one that cannot be used."""
        self._threads = BoundedThreads(settings.term_threads)
        self._judges: list[HttpJudge] = []
        self._terms = [_Term(name, one, self._caller(name, one)) for name, one in settings.terms.items()]

    async def rewards(self, trajectory: Trajectory) -> dict[str, FloatArray]:
        """Weighted rewards of every term, [turns] each; none for an episode without turns.

        The terms work at the same time. Raises `TermError` for the first one that failed, and `AllOverdue`.
        """
        if not (self._terms and trajectory.turns):
            return {}
        view = TrajectoryView.of(trajectory)
        found = await asyncio.gather(*(term.rewards(view) for term in self._terms), return_exceptions=True)
        rewards: dict[str, FloatArray] = {}
        for term, result in zip(self._terms, found, strict=True):
            if isinstance(result, TermError):
                counter("reward_term_failures_total").labels(term=result.term, reason=result.reason).inc()
            if isinstance(result, BaseException):
                raise result
            rewards[term.name] = result
        return rewards

    async def aclose(self) -> None:
        """Close connections."""
        for judge in self._judges:
            await judge.aclose()

    def _caller(self, name: str, settings: TermSettings) -> _Call:
        if settings.judge is not None:
            judge = HttpJudge(name, settings, settings.judge)
            self._judges.append(judge)
            return judge
        function = _find(name, settings)
        bound = functools.partial(function, **settings.options)
        if _is_async(function):
            return lambda trajectory: within(settings.timeout_s, bound(trajectory))
        return lambda trajectory: self._threads.call(settings.timeout_s, functools.partial(bound, trajectory))


def _find(name: str, settings: TermSettings) -> Callable[..., Any]:
    site = PluginSite(f"reward.terms.{name}", "reward term", "the reward service", ENTRY_POINT_GROUP)
    found = site.by_path(settings.path) if settings.path else site.by_entry_point(settings.entry_point or "")
    site.check_call(found, 1, settings.options)
    return found


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
