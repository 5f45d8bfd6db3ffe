"""Reading PDDL's s-expressions."""

import re
from typing import TypeAlias

__all__ = ["Expr", "parse"]

Expr: TypeAlias = "str | list[Expr]"

_COMMENT = re.compile(r";[^\n]*")
_TOKEN = re.compile(r"\([^()]*+\)|[()]|[^\s()]+")
"""A list without lists inside, which almost all of a game file is, is one token: it needs no stack."""


def parse(text: str) -> list[Expr]:
    """The top-level expressions of `text`, comments dropped. Raises `ValueError` on unbalanced parentheses."""
    stack: list[list[Expr]] = [[]]
    for word in _TOKEN.findall(_COMMENT.sub("", text) if ";" in text else text):
        if word == "(":
            stack.append([])
        elif word == ")":
            closed = stack.pop()
            if not stack:
                raise ValueError("a parenthesis is closed that was never opened")
            stack[-1].append(closed)
        elif word[0] == "(":
            stack[-1].append([*word[1:-1].split()])
        else:
            stack[-1].append(word)
    if len(stack) > 1:
        raise ValueError(f"{len(stack) - 1} parentheses are never closed")
    return stack[0]
