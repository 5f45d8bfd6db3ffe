"""Checks of estimator and shaping settings; each failure is a `ConfigError` that names the setting."""

from enum import StrEnum
from typing import TypeVar

from hiper.errors import ConfigError

__all__ = ["member", "require_share"]

_Member = TypeVar("_Member", bound=StrEnum)


def require_share(name: str, value: float) -> None:
    """Refuse a discount or lambda outside [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{name} is {value}", "choose a number in [0, 1]")


def member(name: str, enum: type[_Member], value: str) -> _Member:
    """Return the member of `enum` written as `value`."""
    try:
        return enum(value)
    except ValueError:
        raise ConfigError(f"{name} is '{value}'", f"choose one of {', '.join(enum)}") from None
