"""Does a recorded episode contradict itself? What passes can be computed with.

Checks order, spans and outcome; it decodes no text and judges no content.
"""

from collections.abc import Iterator

from hiper._proto.trajectory.v1.trajectory_pb2 import Trajectory, Turn

__all__ = ["TOKEN_BYTES", "contradictions"]

TOKEN_BYTES = 4
"""Token ids are raw int32."""


def contradictions(trajectory: Trajectory) -> Iterator[str]:
    """Yield every contradiction, in words."""
    outcome = trajectory.outcome
    if outcome.abandoned:
        if trajectory.turns:
            yield f"abandoned ({outcome.abandoned}), yet it has {len(trajectory.turns)} turns"
        return
    if not trajectory.turns:
        yield "no turns, yet not abandoned"
    if outcome.terminated and outcome.truncated:
        yield "both terminated and truncated"
    if trajectory.next_prompt_ids and not outcome.truncated:
        yield "a next prompt, yet not truncated"
    if len(trajectory.next_prompt_ids) % TOKEN_BYTES:
        yield "next_prompt_ids is no list of int32"
    for position, turn in enumerate(trajectory.turns):
        if turn.index != position:
            yield f"turn {turn.index} at position {position}"
        for fault in _of_turn(turn):
            yield f"turn {position}: {fault}"


def _of_turn(turn: Turn) -> Iterator[str]:
    tokens, rest = divmod(len(turn.response_ids), TOKEN_BYTES)
    if rest:
        yield "response_ids is no list of int32"
    # An absent span reads as [0, 0).
    spans = {"switch": turn.switch_span, "sub-goal": turn.subgoal_span, "action": turn.action_span}
    for name, span in spans.items():
        if not span.start <= span.end <= tokens:
            yield f"{name} span [{span.start}, {span.end}) in {tokens} tokens"
    if turn.value_low_position > tokens:
        yield f"value_low_position {turn.value_low_position} in {tokens} tokens"
