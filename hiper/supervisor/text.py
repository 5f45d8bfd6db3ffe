"""Text from models, environments and other processes is hostile until its control characters are gone."""

import unicodedata

__all__ = ["printable"]


def printable(text: str) -> str:
    """Replace every control and format character, tabs and line ends included, by a space."""
    return "".join(" " if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co") else letter for letter in text)
