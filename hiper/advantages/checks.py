"""Checks of estimator and shaping settings; each failure is a `ConfigError` that names the setting."""

import math
from enum import StrEnum
from typing import TypeVar

from hiper.errors import ConfigError

__all__ = ["member", "require_not_negative", "require_share"]

_Member = TypeVar("_Member", bound=StrEnum)


def require_share(name: str, value: float) -> None:
    """Refuse a discount or lambda outside [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{name} is {value}", "choose a number in [0, 1]")


def require_not_negative(name: str, value: float) -> None:
    """Refuse a weight that is negative or not finite."""
    if not 0.0 <= value < math.inf:
        raise ConfigError(f"{name} is {value}", "choose a number >= 0")


def member(name: str, enum: type[_Member], value: str) -> _Member:
    """Return the member of `enum` written as `value`."""
    try:
        return enum(value)
    except ValueError:
        raise ConfigError(f"{name} is '{value}'", f"choose one of {', '.join(enum)}") from None
