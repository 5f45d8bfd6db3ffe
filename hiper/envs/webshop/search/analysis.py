"""From a text to the terms that are searched: Lucene's English analysis (spec 2.6), in this order.

1. words (`words`); 2. a final `'s` goes; 3. lower case; 4. stop words go; 5. Porter's stemmer.

Invariant: documents and queries pass through this one function. Terms come in text order, repeated as they occur.
"""

from functools import lru_cache

from hiper.envs.webshop.search.porter import stem
from hiper.envs.webshop.search.words import words

__all__ = ["STOP_WORDS", "analyze"]

_STOPPED = (
    "a an and are as at be but by for if in into is it no not of on or such"
    " that the their then there these they this to was will with"
)
STOP_WORDS = frozenset(_STOPPED.split())
_POSSESSIVES = ("'s", "’s", "＇s", "'S", "’S", "＇S")
_KNOWN_WORDS = 1 << 17


def analyze(text: str) -> list[str]:
    """Terms of `text`."""
    return [term for word in words(text) if (term := _term(word))]


@lru_cache(maxsize=_KNOWN_WORDS)
def _term(word: str) -> str:
    """Term of one word; empty for a stop word."""
    if word.endswith(_POSSESSIVES):
        word = word[:-2]
    word = word.lower() if word.isascii() else "".join(map(_lower, word))
    return "" if word in STOP_WORDS else stem(word)


def _lower(letter: str) -> str:
    """A letter by itself, as Java does it: no final sigma, and one letter for one."""
    return letter.lower()[0]
