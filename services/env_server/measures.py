"""The env server's metrics, with their labels bound once: a step is too short for label look-ups."""

from hiper.envs.base import StepResult
from hiper.metrics import counter, gauge, histogram
from services.env_server.refusals import Refusal

__all__ = ["Measures"]

_CALLS = ("GetInfo", "CreateSessions", "BatchReset", "BatchStep", "CloseSessions", "ListTasks")


class Measures:
    """What one server measures of environment `env`."""

    def __init__(self, env: str, max_sessions: int) -> None:
        self._env = env
        steps = histogram("env_step_duration_seconds")
        self._steps = {name: steps.labels(env=env, outcome=name) for name in ("ok", "invalid", "end")}
        self._resets = histogram("env_reset_duration_seconds").labels(env=env)
        self._invalid = counter("env_invalid_actions_total").labels(env=env)
        self._sessions = gauge("env_sessions").labels(env=env)
        self._reaped = counter("env_sessions_reaped_total").labels(env=env)
        self._reaped_before = 0
        self.calls = {name: histogram("env_call_duration_seconds").labels(method=name) for name in _CALLS}
        gauge("env_sessions_max").labels(env=env).set(max_sessions)

    def step(self, result: StepResult, seconds: float) -> None:
        """Count one action that was played."""
        if not result.action_valid:
            self._invalid.inc()
        outcome = "end" if result.done else "ok" if result.action_valid else "invalid"
        self._steps[outcome].observe(seconds)

    def reset(self, seconds: float) -> None:
        """Count one reset, its load included."""
        self._resets.observe(seconds)

    def refusal(self, refusal: Refusal) -> None:
        """Count one refused item."""
        counter("env_errors_total").labels(env=self._env, code=refusal.code.name).inc()

    def sessions(self, live: int, reaped: int) -> None:
        """Record the size of the table and the sessions reaped since the start."""
        self._sessions.set(live)
        self._reaped.inc(reaped - self._reaped_before)
        self._reaped_before = reaped
