"""From turns to tokens: which tokens of a response belong to which level (method.md, section 8).

Spans include their tags and are clipped to the response. A token's advantage is the sum over the levels it belongs to:
levels overlap where one token straddles two tags, and in a response without an action block, which is one action from
its first to its last token. The loss mask is the union of the levels that have an advantage at that turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hiper.advantages.columns import INT, SPAN, BoolArray, Columns, IntArray, LevelArrays
from hiper.vocabulary import Level, TokenSpan

__all__ = ["LevelTokens", "TokenRule", "TokenTargets", "TurnSpans", "level_tokens", "token_targets"]

_Scalar = TypeVar("_Scalar", bound="np.generic[Any]")


class TokenRule(StrEnum):
    """Which sampled tokens are trained."""

    ALL = "all"
    """Default and paper mode: tokens outside the three blocks (end of sequence, separators, stray text) belong to the
    low level. The sub-goal block of a KEEP turn is a copy and stays out."""
    BLOCKS = "blocks"
    """Compat mode: the three blocks only."""


@dataclass(frozen=True, eq=False)
class TurnSpans(Columns):
    """Where the blocks of each response lie, [rows] and [rows, 2]; a missing block is [0, 0)."""

    length: IntArray = field(metadata=INT)
    """Sampled tokens of the response, end of sequence included."""
    switch: IntArray = field(metadata=SPAN)
    subgoal: IntArray = field(metadata=SPAN)
    action: IntArray = field(metadata=SPAN)
    """The whole response where the action block is missing."""

    @classmethod
    def collect(
        cls,
        lengths: Sequence[int],
        switch: Sequence[TokenSpan | None],
        subgoal: Sequence[TokenSpan | None],
        action: Sequence[TokenSpan | None],
    ) -> "TurnSpans":
        """Build the table from one span, or None for a missing block, per turn."""
        whole = [TokenSpan(0, length) if span is None else span for length, span in zip(lengths, action, strict=True)]
        return cls(np.asarray(lengths), _span_column(switch), _span_column(subgoal), _span_column(whole))


@dataclass(frozen=True, eq=False)
class LevelTokens:
    """Each response cut into runs of tokens that belong to the same levels, [rows, runs]; no boundaries applied yet.

    The runs of a row follow one another from its first column to its last, some of them empty. Six span ends and the
    end of the response make eight runs at most, so everything but the final spreading costs eight columns, not `width`.
    """

    lengths: IntArray
    """Tokens of each run; a row's sum is the width of the table."""
    action: BoolArray
    """Runs that carry the low level."""
    subgoal: BoolArray
    """Runs of the sub-goal block, written or copied."""
    switch: BoolArray
    """Runs of the switch block."""

    @property
    def width(self) -> int:
        """Columns of the table."""
        return int(self.lengths[0].sum()) if len(self.lengths) else 0

    @property
    def has_action(self) -> BoolArray:
        """Turns that own a token of the low level, [rows]; a column of `TurnBatch`, like its two siblings."""
        return self._any_token(self.action)

    @property
    def has_subgoal(self) -> BoolArray:
        """Turns with a sub-goal block, [rows]."""
        return self._any_token(self.subgoal)

    @property
    def has_switch(self) -> BoolArray:
        """Turns with a switch block, [rows]."""
        return self._any_token(self.switch)

    def spread(self, per_run: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Give every token its run's value: [rows, runs] to [rows, width]."""
        return np.repeat(per_run.ravel(), self.lengths.ravel()).reshape(len(per_run), self.width)

    def _any_token(self, runs: BoolArray) -> BoolArray:
        return np.asarray((runs & (self.lengths > 0)).any(axis=1), dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class TokenTargets:
    """What the policy loss needs per token, [rows, width]."""

    advantages: NDArray[np.float32]
    """Zero outside the mask."""
    mask: BoolArray
    """Tokens inside the loss."""


def level_tokens(spans: TurnSpans, rule: TokenRule = TokenRule.ALL, width: int | None = None) -> LevelTokens:
    """Mark the tokens of each block. `width` is the number of columns, at least the longest response (the default)."""
    longest = int(spans.length.max(initial=0))
    width = longest if width is None else width
    if width < longest:
        raise ValueError(f"a response of {longest} tokens does not fit {width} columns")
    end = spans.length[:, None]
    cuts = np.sort(np.clip(np.hstack([spans.action, spans.subgoal, spans.switch, end]), 0, end), axis=1)
    edges = np.hstack([np.zeros_like(end), cuts, np.full_like(end, width)])
    starts = edges[:, :-1]
    sampled = starts < end

    def inside(span: IntArray) -> BoolArray:
        marked: BoolArray = (starts >= span[:, :1]) & (starts < span[:, 1:]) & sampled
        return marked

    action, subgoal, switch = inside(spans.action), inside(spans.subgoal), inside(spans.switch)
    if rule is TokenRule.ALL:
        action = action | (sampled & ~(subgoal | switch))
    return LevelTokens(lengths=np.diff(edges, axis=1), action=action, subgoal=subgoal, switch=switch)


def token_targets(
    tokens: LevelTokens,
    advantages: LevelArrays,
    boundary: BoolArray,
    high_on: tuple[Level, ...] = (Level.HIGH,),
) -> TokenTargets:
    """Spread advantages per turn over tokens.

    Args:
        tokens: of the same rows.
        advantages: per turn; a NaN level adds nothing and puts no token into the mask.
        boundary: first turns of segments, [rows].
        high_on: blocks that carry the high level on boundary turns: HIGH = sub-goal block, SWITCH = switch block.
    """
    high = np.zeros_like(tokens.subgoal)
    for block, level in ((tokens.subgoal, Level.HIGH), (tokens.switch, Level.SWITCH)):
        if level in high_on:
            high |= block & boundary[:, None]
    total = np.zeros(high.shape, dtype=np.float32)
    mask = np.zeros(high.shape, dtype=np.bool_)
    for level, owned in ((Level.LOW, tokens.action), (Level.HIGH, high), (Level.SWITCH, tokens.switch)):
        present = np.isfinite(advantages[level])
        scalar = np.where(present, advantages[level], 0.0).astype(np.float32)
        total += scalar[:, None] * owned
        mask |= owned & present[:, None]
    return TokenTargets(advantages=tokens.spread(total), mask=tokens.spread(mask))


def _span_column(spans: Sequence[TokenSpan | None]) -> IntArray:
    pairs = [(0, 0) if span is None else (span.start, span.end) for span in spans]
    return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
