"""Where the three blocks of a response are, in characters and in tokens (method.md, section 11.3).

Tokens are given as pieces: the text of each sampled token, whose concatenation is the response. A block is the first
open tag and the first close tag after it, case-sensitive, tags included.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from hiper.vocabulary import TokenSpan

__all__ = ["ACTION", "SUBGOAL", "SWITCH", "Block", "PieceMap", "find_block", "value_low_position"]

SWITCH, SUBGOAL, ACTION = "switch", "subgoal", "action"


@dataclass(frozen=True, slots=True)
class Block:
    """One tagged block of a text: characters [start, end) with its tags, and the text between them."""

    start: int
    end: int
    content: str


def find_block(text: str, tag: str) -> Block | None:
    """Return the first block of `tag`, or None if an open tag followed by a close tag is missing."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    start = text.find(opening)
    if start < 0:
        return None
    inner = start + len(opening)
    stop = text.find(closing, inner)
    if stop < 0:
        return None
    return Block(start, stop + len(closing), text[inner:stop])


class PieceMap:
    """Maps character ranges of a response to token ranges."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self.text = "".join(pieces)
        self._ends = list(accumulate(len(piece) for piece in pieces))
        self._starts = [0, *self._ends[:-1]] if self._ends else []

    def tokens(self, block: Block | None) -> TokenSpan | None:
        """Return the tokens that touch `block`: the first ends behind its start, the last begins inside it."""
        if block is None:
            return None
        return TokenSpan(bisect_right(self._ends, block.start), bisect_left(self._starts, block.end))


def value_low_position(switch: TokenSpan | None, subgoal: TokenSpan | None, length: int) -> int:
    """Return the response token whose preceding hidden state gives V_low (method.md, section 6).

    The first token after the sub-goal block; without one that is followed by anything, after the switch block; else 0.
    """
    for span in (subgoal, switch):
        if span is not None and span.end < length:
            return span.end
    return 0
