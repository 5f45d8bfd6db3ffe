"""The plan-execute interface: one prompt builder, one parser, one state for everybody.

The rollout asks, reads and records with these; the warm start writes its demonstrations with them. Nobody downstream
decodes text again.
"""

from hiper.plan_execute.parse import FormatError, ParsedResponse, parse_response, render_response
from hiper.plan_execute.prompt import (
    ChatPromptBuilder,
    CompactPromptBuilder,
    PromptBuilder,
    PromptInput,
    make_builder,
    task_of,
)
from hiper.plan_execute.state import EpisodeState, TurnDecision

__all__ = [
    "ChatPromptBuilder",
    "CompactPromptBuilder",
    "EpisodeState",
    "FormatError",
    "ParsedResponse",
    "PromptBuilder",
    "PromptInput",
    "TurnDecision",
    "make_builder",
    "parse_response",
    "render_response",
    "task_of",
]
