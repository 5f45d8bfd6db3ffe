"""Words of a text, as Lucene's StandardTokenizer cuts it (spec 2.6): Unicode word boundaries, and emoji as words.

Every character is mapped to a one-letter class (`word_classes.txt`, the same under every Python), and one regular
expression over the classes finds the words. The rules are those of Unicode Annex 29 (named WB below) and the emoji
sequences of Unicode Technical Standard 51. Quantifiers are possessive, so that time is linear in the text whatever it
holds.

Invariants: words do not overlap, come in text order, have 1 to `LONGEST_WORD` characters, and hold a letter, a digit
or an emoji.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from importlib.resources import files

__all__ = ["LONGEST_WORD", "character_class", "words"]

LONGEST_WORD = 255
"""In characters, which Lucene counts in UTF-16 units; a longer word is cut into pieces."""

_OTHER = "-"


def _read_classes(text: str) -> Iterator[tuple[int, int, str]]:
    kind = _OTHER
    for line in text.splitlines():
        if line.startswith("["):
            kind = line[1]
        elif not line.startswith("#"):
            for part in line.split():
                first, _, last = part.partition("-")
                yield int(first, 16), int(last or first, 16), kind


_TABLE = sorted(_read_classes((files(__package__) / "word_classes.txt").read_text("utf-8")))
_STARTS = [first for first, _, _ in _TABLE]


def character_class(code: int) -> str:
    """Class of one code point: a letter of the regular expression."""
    _, last, kind = _TABLE[bisect_right(_STARTS, code) - 1] if code >= _STARTS[0] else (0, -1, _OTHER)
    return kind if code <= last else _OTHER


class _Classes(dict[int, str]):
    """Classes of the characters seen so far; the table `str.translate` asks."""

    def __missing__(self, code: int) -> str:
        self[code] = kind = character_class(code)
        return kind


_CLASSES = _Classes()

_X = "[xzvktM]*+"  # what belongs to the character before it (WB4)
_MARKED = f"H{_X}(?:'{_X}|\"{_X}H{_X})"  # WB7a-c
_LETTERS = f"[ALH]{_X}(?:[:.']{_X}[ALH]{_X})*+"  # WB6, 7
_DIGITS = f"N{_X}(?:[,.']{_X}N{_X})*+"  # WB11, 12
_PART = f"(?:(?:{_MARKED}|{_LETTERS}|{_DIGITS})++|(?:K{_X})++)"  # WB5, 8-10, 13
_JOIN = f"(?:_{_X})"
_PLAIN = f"{_JOIN}{{0,{LONGEST_WORD}}}+{_PART}(?:{_JOIN}++{_PART})*+{_JOIN}*+"  # WB13a-b
_ALONE = f"(?:[SM]{_X})++|C{_X}"
_E = "[xzkM]*"  # what belongs to the emoji before it
_DRAWN = f"(?:B{_E}e|[EB](?:{_E}v)?|e)"
_ENCLOSED = f"L(?:{_E}v)?"
_GLUE = f"(?:(?<!v){_E}z|(?<=v)z(?:z++(?=[EBL]))?)"  # WB3c
_MORE = f"(?:{_GLUE}(?:{_DRAWN}|{_ENCLOSED}))*(?:(?<!v){_E})?"
_FROM_LETTER = f"{_ENCLOSED}(?:{_GLUE}{_ENCLOSED})*{_GLUE}{_DRAWN}{_MORE}"
_FROM_EMOJI = f"(?:z{{1,{LONGEST_WORD}}}+(?=[EBL]))?(?:{_DRAWN}|{_ENCLOSED}){_MORE}"
_FLAG = f"R{_X}R{_X}"
_KEY = f"#{_E}v?k{_E}"
_WORD = re.compile(
    f"({_FROM_LETTER}|{_PLAIN}|{_ALONE}|{_FROM_EMOJI}|{_FLAG}|{_KEY})"
    "|(?:_[xzvkt]*+(?![MEBL]))++|_"  # joiners that join nothing are eaten, but are no word: the group is empty
)


def words(text: str) -> list[str]:
    """Words of `text`, unchanged in spelling."""
    classes = text.translate(_CLASSES)
    found: list[str] = []
    for match in _WORD.finditer(classes):
        start, end = match.span(1)
        if end - start > LONGEST_WORD:
            found.extend(_cut(text, classes, start, end))
        elif end > 0:
            found.append(text[start:end])
    return found


def _cut(text: str, classes: str, start: int, end: int) -> Iterator[str]:
    """Words of a stretch that is one word but for its length: matching begins anew after every full piece."""
    while start < end:
        match = _WORD.match(classes, start, min(start + LONGEST_WORD, end))
        if match is None or match.end(1) < 0:
            start += 1
            continue
        yield text[start : match.end()]
        start = match.end()
