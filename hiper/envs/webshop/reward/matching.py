"""Whether two texts mean the same: thefuzz's `token_set_ratio`, as the original calls it (spec 2.7)."""

from functools import lru_cache

from rapidfuzz import fuzz, utils

__all__ = ["alike"]

_ENOUGH = 85
_KEPT = 1 << 15
_NO_LATIN_1 = dict.fromkeys(range(0x80, 0x100))


def alike(one: str, other: str) -> bool:
    """Whether the ratio of two texts, rounded to an integer, is above 85."""
    return round(fuzz.token_set_ratio(_plain(one), _plain(other))) > _ENOUGH


@lru_cache(_KEPT)
def _plain(text: str) -> str:
    """Lower case, without U+0080 to U+00FF, with blanks for all that is neither letter nor digit."""
    return utils.default_process(text.translate(_NO_LATIN_1))
