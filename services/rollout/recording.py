"""What is written down of an episode: turns, the trajectory, and the metrics both give."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hiper._proto.common.v1.types_pb2 import TokenSpan as TokenSpanMessage
from hiper._proto.trajectory.v1.trajectory_pb2 import Outcome, Task, Trajectory, Turn
from hiper.metrics import counter, histogram
from hiper.plan_execute import ParsedResponse, TurnDecision
from hiper.rpc.env_client import EnvStep
from hiper.streams import SCHEMA_VERSION
from hiper.tracing import Attributes, exemplar
from hiper.vocabulary import Abandonment, StopReason, Switch, TokenSpan
from services.rollout.engine import Generation

__all__ = ["PlayedTurn", "abandoned", "chat_attributes", "count_episode", "episode_attributes", "int32"]

_LONGEST_ERROR = 1000


@dataclass(frozen=True, slots=True)
class PlayedTurn:
    """Everything one turn was made of."""

    index: int
    prompt_ids: list[int]
    generation: Generation
    response: ParsedResponse
    decision: TurnDecision
    before: EnvStep
    """What the action was chosen on."""
    after: EnvStep
    """What came of it."""

    def message(self) -> Turn:
        """The turn as it travels."""
        generation, response = self.generation, self.response
        return Turn(
            index=self.index,
            prompt_ids=int32(self.prompt_ids),
            response_ids=int32(generation.token_ids),
            response_logprobs=np.asarray(generation.logprobs, dtype="<f4").tobytes(),
            policy_version_start=generation.version_start,
            policy_version_end=generation.version_end,
            stop_reason=generation.stop_reason.value,
            is_switch=response.switch is Switch.SWITCH,
            switch_span=_span(response.switch_span),
            subgoal_span=_span(response.subgoal_span),
            action_span=_span(response.action_span),
            value_low_position=response.value_low_position,
            valid=response.valid,
            action_admissible=self.after.action_valid,
            subgoal_consistent=self.decision.consistent,
            subgoal=self.decision.subgoal,
            action=response.action,
            observation=self.before.observation,
            env_reward=self.after.reward,
        )

    def count(self, env: str) -> None:
        """Move the metrics of a turn."""
        counter("rollout_tokens_total").labels(kind="prompt").inc(len(self.prompt_ids))
        counter("rollout_tokens_total").labels(kind="cached").inc(self.generation.cached_tokens)
        counter("rollout_tokens_total").labels(kind="response").inc(len(self.generation.token_ids))
        if self.generation.stop_reason is StopReason.LENGTH:
            counter("rollout_responses_clipped_total").inc()
        if self.response.switch is Switch.SWITCH:
            counter("rollout_subgoal_switches_total").labels(env=env).inc()
        for error in self.response.errors:
            counter("rollout_format_errors_total").labels(field=error.value).inc()


def chat_attributes(index: int, prompt_ids: Sequence[int], generation: Generation) -> Attributes:
    """What the span of a turn's generation says, by OpenTelemetry's names where it has any."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.input_tokens": len(prompt_ids),
        "gen_ai.usage.output_tokens": len(generation.token_ids),
        "hiper.stop_reason": generation.stop_reason.value,
        "hiper.policy_version": generation.version_end,
        "hiper.turn": index,
    }


def episode_attributes(trajectory: Trajectory) -> Attributes:
    """What the span of an episode says once it is played."""
    return {
        "hiper.env": trajectory.task.env,
        "hiper.task_id": trajectory.task.task_id,
        "hiper.task_type": trajectory.task_type,
        "hiper.outcome": _outcome_word(trajectory.outcome),
        "hiper.turns": len(trajectory.turns),
    }


def abandoned(task: Task, reason: Abandonment, error: Exception, producer: str) -> Trajectory:
    """The trajectory of an episode that could not be played: no turns, and why."""
    return Trajectory(
        schema_version=SCHEMA_VERSION,
        task=task,
        outcome=Outcome(abandoned=reason.value, error=str(error)[:_LONGEST_ERROR]),
        producer=producer,
    )


def count_episode(trajectory: Trajectory, seconds: float) -> None:
    """Move the metrics of an episode that took `seconds`. An abandoned one has no turns to speak of."""
    env = trajectory.task.env
    labels = {"env": env, "task_type": trajectory.task_type, "outcome": _outcome_word(trajectory.outcome)}
    counter("rollout_episodes_total").labels(**labels).inc()
    if trajectory.outcome.abandoned:
        return
    segments = sum(turn.is_switch or turn.index == 0 for turn in trajectory.turns)
    histogram("rollout_episode_duration_seconds").labels(env=env).observe(seconds, exemplar())
    histogram("rollout_episode_turns").labels(env=env).observe(len(trajectory.turns))
    histogram("rollout_episode_return").labels(env=env).observe(sum(turn.env_reward for turn in trajectory.turns))
    histogram("rollout_subgoals_per_episode").labels(env=env).observe(segments)


def int32(ids: Sequence[int]) -> bytes:
    """Token ids as they travel: raw little-endian int32."""
    return np.asarray(ids, dtype="<i4").tobytes()


def _span(span: TokenSpan | None) -> TokenSpanMessage | None:
    return None if span is None else TokenSpanMessage(start=span.start, end=span.end)


def _outcome_word(outcome: Outcome) -> str:
    if outcome.abandoned:
        return "abandoned"
    if outcome.won:
        return "success"
    return "truncated" if outcome.truncated else "lost"
