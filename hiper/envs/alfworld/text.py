"""Lists as the game's text grammar writes them (spec 1.4)."""

from collections.abc import Sequence

__all__ = ["join_names", "list_names"]


def join_names(names: Sequence[str]) -> str:
    """Join with `, ` and a last `, and `: also two names get the comma."""
    return ", and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])}, and {names[-1]}"


def list_names(names: Sequence[str]) -> str:
    """The list with its articles, `nothing` when it is empty. The article is always `a`, as in the original."""
    return join_names([f"a {name}" for name in names]) if names else "nothing"
