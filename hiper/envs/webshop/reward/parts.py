"""How a reward came about (spec 2.7)."""

from dataclasses import dataclass

__all__ = ["RewardParts"]


@dataclass(frozen=True, slots=True)
class RewardParts:
    """The reward and its parts, under the names the original gives them. Parts `r_*` and shares `w_*` are 0 to 1."""

    score: float
    """The reward: `r_type` times the share of attributes, options and price that fit."""
    r_type: float
    """Whether it is the right kind of product: 0, 0.1, 0.5 or 1."""
    r_att: float
    w_att: float
    query_match: bool
    """Both products come from the same query."""
    category_match: bool
    """Their categories share at least two parts."""
    title_score: float
    """Nouns of the goal's title that the bought product's title has, as a share; 0.2 if there are none."""
    r_option: float | None
    """None, as `w_option`, for a goal without options."""
    w_option: float | None
    r_price: bool
    """Not above the goal's limit."""
    w_price: float
