"""The parser of plan-execute responses. What it says is the record: nobody reads the text a second time.

It unites the reference's two parsers, which disagree (method.md, section 17, defect 5): one tag search for text and
tokens, and a turn switches only if the decision is SWITCH. The action is always sent to the environment, also when
the output is malformed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hiper.plan_execute.blocks import ACTION, SUBGOAL, SWITCH, PieceMap, find_block, value_low_position
from hiper.vocabulary import Switch, TokenSpan

__all__ = ["FormatError", "ParsedResponse", "parse_response", "render_response"]

FALLBACK_ACTION_CHARS = 30
"""Without an action block the last characters of the response are sent, as the reference does."""
_IDEOGRAPH = re.compile("[\u4e00-\u9fff]")


class FormatError(StrEnum):
    """What is wrong with a response. Each value is a label of `hiper_rollout_format_errors_total`."""

    SWITCH_MISSING = "switch_missing"
    SWITCH_ILLEGAL = "switch_illegal"
    SUBGOAL_MISSING = "subgoal_missing"
    ACTION_MISSING = "action_missing"
    IDEOGRAPH = "ideograph"


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """One response, read. Spans are response tokens, tags included; None = the block is missing."""

    switch: Switch
    subgoal: str
    """The sub-goal as written, stripped; empty if missing."""
    action: str
    """What is sent to the environment: lower-case, stripped."""
    errors: tuple[FormatError, ...]
    switch_span: TokenSpan | None
    subgoal_span: TokenSpan | None
    action_span: TokenSpan | None
    value_low_position: int

    @property
    def valid(self) -> bool:
        """True if the three blocks were found and the decision is legal."""
        return not self.errors


def parse_response(pieces: Sequence[str]) -> ParsedResponse:
    """Read a response given as the texts of its tokens; an end-of-sequence token is given as an empty text."""
    tokens = PieceMap(pieces)
    switch, subgoal, action = (find_block(tokens.text, tag) for tag in (SWITCH, SUBGOAL, ACTION))
    decision = switch.content.strip().upper() if switch else ""
    errors = []
    if switch is None:
        errors.append(FormatError.SWITCH_MISSING)
    elif decision not in (Switch.KEEP, Switch.SWITCH):
        errors.append(FormatError.SWITCH_ILLEGAL)
    if subgoal is None or not subgoal.content.strip():
        errors.append(FormatError.SUBGOAL_MISSING)
    if action is None:
        errors.append(FormatError.ACTION_MISSING)
    if _IDEOGRAPH.search(tokens.text):
        errors.append(FormatError.IDEOGRAPH)
    switch_span, subgoal_span = tokens.tokens(switch), tokens.tokens(subgoal)
    return ParsedResponse(
        switch=Switch.SWITCH if decision == Switch.SWITCH else Switch.KEEP,
        subgoal=subgoal.content.strip() if subgoal else "",
        action=(action.content if action else tokens.text[-FALLBACK_ACTION_CHARS:]).strip().lower(),
        errors=tuple(errors),
        switch_span=switch_span,
        subgoal_span=subgoal_span,
        action_span=tokens.tokens(action),
        value_low_position=value_low_position(switch_span, subgoal_span, len(pieces)),
    )


def render_response(switch: Switch, subgoal: str, action: str) -> str:
    """Write the canonical response: exactly three blocks in this order and nothing else."""
    return f"<switch>{switch}</switch><subgoal>{subgoal}</subgoal><action>{action}</action>"
