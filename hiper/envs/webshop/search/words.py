"""Words of a text, as Lucene's StandardTokenizer cuts it (spec 2.6): Unicode word boundaries, and emoji as words.

Every character is mapped to a one-letter class, and one regular expression over the classes finds the words. The
rules are those of Unicode Annex 29 (named WB below) and the emoji sequences of Unicode Technical Standard 51 (version
11, the one Lucene 8 knows). Quantifiers are possessive, so that time is linear in the text whatever it holds.

Invariants: words do not overlap, come in text order, have 1 to `LONGEST_WORD` characters, and hold a letter, a digit
or an emoji.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator

__all__ = ["LONGEST_WORD", "character_class", "words"]

LONGEST_WORD = 255
"""In characters; a longer word is cut into pieces."""

_RANGES = {
    ":": "3A B7 387 5F4 2027 FE13 FE55 FF1A",  # joins letters (MidLetter)
    ",": "2C 3B 37E 589 60C-60D 66C 7F8 2044 FE10 FE14 FE50 FE54 FF0C FF1B",  # joins digits (MidNum)
    ".": "2E 2018-2019 2024 FE52 FF07 FF0E",  # joins both (MidNumLet)
    "'": "27",  # joins both, and may end a Hebrew word
    '"': "22",  # joins Hebrew letters
    "_": "5F 202F 203F-2040 2054 FE33-FE34 FE4D-FE4F FF3F",  # joins and belongs (ExtendNumLet)
    "x": "AD 200C 200E-200F 202A-202E 2060-2064 2066-206F FEFF FF9E-FF9F FFF9-FFFB E0001 E0020-E007F",  # invisible
    "z": "200D",  # joins emoji
    "v": "FE0F",  # asks for the coloured form of an emoji
    "k": "20E3",  # makes a key of a digit
    "#": "23 2A",  # an emoji as a key only
    "H": "5D0-5EA 5EF-5F2 FB1D FB1F-FB28 FB2A-FB36 FB38-FB3C FB3E FB40-FB41 FB43-FB44 FB46-FB4F",  # Hebrew
    "K": "3031-3035 309B-309C 30A0-30FA 30FC-30FF 31F0-31FF 32D0-32FE 3300-3357 FF66-FF9D 1B000",  # Katakana
    "G": "3041-3096 309D-309F 1B001-1B11E 1F200",  # Hiragana
    "C": "2E80-2E99 2E9B-2EF3 2F00-2FD5 3005 3007 3021-3029 3038-303B 3400-4DBF 4E00-9FFF F900-FA6D FA70-FAD9"
    " 20000-2FA1D 30000-3347F",  # Han
    "N": "66B",
    "A": "B8 5F3 24B6-24E9 1F130-1F149 1F150-1F169 1F170-1F189",  # letters by use; their category says otherwise
    "R": "1F1E6-1F1FF",  # two of them are a flag
    "e": "1F3FB-1F3FF",  # skin colours
    "E": "A9 AE 203C 2049 2122 2194-2199 21A9-21AA 231A-231B 2328 2388 23CF 23E9-23F3 23F8-23FA 25AA-25AB 25B6 25C0"
    " 25FB-25FE 2600-2605 2607-2612 2614-2685 2690-2705 2708-2712 2714 2716 271D 2721 2728 2733-2734 2744 2747 274C"
    " 274E 2753-2755 2757 2763-2767 2795-2797 27A1 27B0 27BF 2934-2935 2B05-2B07 2B1B-2B1C 2B50 2B55 3030 303D 3297"
    " 3299 1F000-1F0FF 1F10D-1F10F 1F12F 1F16C-1F16F 1F18E 1F191-1F19A 1F1AD-1F1E5 1F201-1F20F 1F21A 1F22F"
    " 1F232-1F23A 1F23C-1F23F 1F249-1F3FA 1F400-1F53D 1F546-1F64F 1F680-1F6FF 1F774-1F77F 1F7D5-1F7FF 1F80C-1F80F"
    " 1F848-1F84F 1F85A-1F85F 1F888-1F88F 1F8AE-1F8FF 1F90C-1F93A 1F93C-1F945 1F947-1FFFD",  # pictographs
}
_OTHER = "-"
_SOUTH_EAST_ASIAN = "E01-EDF 1000-109F 1780-17DD 1950-19DF 1A20-1AAD A9E0-A9FE AA60-AADF 11700-11746"

Range = tuple[int, int, str]


def _ranges(text: str, kind: str) -> Iterator[Range]:
    for part in text.split():
        first, _, last = part.partition("-")
        yield int(first, 16), int(last or first, 16), kind


_TABLE = sorted(entry for kind, text in _RANGES.items() for entry in _ranges(text, kind))
_TABLE_STARTS = [entry[0] for entry in _TABLE]
_COMPLEX = list(_ranges(_SOUTH_EAST_ASIAN, "S"))
_BY_CATEGORY = dict.fromkeys(("Lu", "Ll", "Lt", "Lm", "Lo", "Nl"), "A") | {"Nd": "N"}
_MARKS = ("Mn", "Mc", "Me")


def character_class(code: int) -> str:
    """Class of one code point: a letter of the regular expression."""
    first, last, kind = _TABLE[max(0, bisect_right(_TABLE_STARTS, code) - 1)]
    if first <= code <= last:
        return kind
    category = unicodedata.category(chr(code))
    if (category == "Lo" or category in _MARKS) and any(first <= code <= last for first, last, _ in _COMPLEX):
        return "S"
    return "x" if category in _MARKS else _BY_CATEGORY.get(category, _OTHER)


class _Classes(dict[int, str]):
    """Classes of the characters seen so far; the table `str.translate` asks."""

    def __missing__(self, code: int) -> str:
        self[code] = kind = character_class(code)
        return kind


_CLASSES = _Classes()

_X = "[xzvk]*+"  # what belongs to the character before it (WB4)
_LETTER = f"(?:A{_X}|H{_X}(?:'{_X}|\"{_X}(?=H))?+)"  # WB7a-c
_LETTERS = f"{_LETTER}(?:(?:[:.']{_X}(?=[AH]))?+{_LETTER})*+"  # WB5-7
_DIGITS = f"N{_X}(?:(?:[,.']{_X}(?=N))?+N{_X})*+"  # WB8, 11, 12
_PART = f"(?:(?:{_LETTERS}|{_DIGITS})++|(?:K{_X})++)"  # WB9, 10, 13
_JOIN = f"(?:_{_X})"
_PLAIN = f"{_JOIN}*+{_PART}(?:{_JOIN}++{_PART})*+{_JOIN}*+"  # WB13a-b
_ALONE = f"(?:S{_X})++|[CG]{_X}"
_EMOJI_UNIT = f"(?:R{_X}R|[Ee]v?+e?+|#v?+k)"
_EMOJI = f"{_EMOJI_UNIT}(?:z{_EMOJI_UNIT})*+{_X}"
_WORD = re.compile(f"({_PLAIN}|{_ALONE}|{_EMOJI}|R{_X})|{_JOIN}++")
"""The second alternative eats joiners that join nothing; only the first one, the group, is a word."""


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
