"""Named places at which a process can be made to die, so that every row of the failure matrix is hit on purpose.

`HIPER_FAILPOINT=learner_after_checkpoint` ends the process the first time it comes there, as SIGKILL would: no handler,
no flush, exit code 137. `HIPER_FAILPOINT=rollout_after_step:5` does so the fifth time. Without the variable a failpoint
is one comparison. A restarted process of `hiper up` runs without it. docs/guarantees.md has what must hold at each.
"""

import os
from enum import StrEnum

from hiper.errors import ConfigError

__all__ = ["EXIT_CODE", "VARIABLE", "Failpoint", "arm_failpoint", "failpoint"]

VARIABLE = "HIPER_FAILPOINT"
EXIT_CODE = 137


class Failpoint(StrEnum):
    """Every failpoint, named by the service it is in and the moment."""

    ENV_AFTER_STEP = "env_after_step"
    """The environment acted, the answer is not sent."""
    ROLLOUT_AFTER_STEP = "rollout_after_step"
    """In the middle of an episode."""
    ROLLOUT_BEFORE_PUBLISH = "rollout_before_publish"
    """An episode is finished, nobody knows."""
    ROLLOUT_AFTER_PUBLISH = "rollout_after_publish"
    """Its trajectory is published, its task not acknowledged."""
    ROLLOUT_BEFORE_SWAP = "rollout_before_swap"
    """New weights are fetched and verified, not loaded."""
    ROLLOUT_AFTER_SWAP = "rollout_after_swap"
    """New weights are loaded, nobody knows."""
    REWARD_BEFORE_HAND_OFF = "reward_before_hand_off"
    """A trajectory is scored, not in its batch."""
    REWARD_AFTER_HAND_OFF = "reward_after_hand_off"
    """It is in its batch."""
    HAE_BEFORE_HAND_OFF = "hae_before_hand_off"
    """Advantages are computed, the batch is not handed on."""
    HAE_AFTER_HAND_OFF = "hae_after_hand_off"
    """The batch is handed on."""
    LEARNER_BEFORE_UPDATE = "learner_before_update"
    """A whole batch has come."""
    LEARNER_AFTER_UPDATE = "learner_after_update"
    """The policy is updated in memory only."""
    LEARNER_DURING_CHECKPOINT = "learner_during_checkpoint"
    """The checkpoint's files are written under a temporary name."""
    LEARNER_AFTER_CHECKPOINT = "learner_after_checkpoint"
    """The checkpoint stands, its entries are not acknowledged."""
    LEARNER_AFTER_ACK = "learner_after_ack"
    """Entries are acknowledged, the weights not published."""
    LEARNER_DURING_PUBLISH = "learner_during_publish"
    """The weights are written, not announced."""


class _Armed:
    """What is to happen where, and how many passes are left."""

    point: str | None = None
    passes_left = 0


def arm_failpoint(setting: str | None) -> None:
    """Arm the failpoint `setting` names, `name` or `name:nth`; None disarms. Raises `ConfigError` for unknown ones."""
    name, _, nth = (setting or "").partition(":")
    if name and name not in tuple(Failpoint):
        raise ConfigError(f"{VARIABLE}: there is no failpoint '{name}'", f"use one of {', '.join(Failpoint)}")
    if nth and not (nth.isdecimal() and int(nth) > 0):
        raise ConfigError(f"{VARIABLE}={setting}: '{nth}' is no number of passes", f"write {name}:3 for the third")
    _Armed.point, _Armed.passes_left = name or None, int(nth or 1)


def failpoint(point: Failpoint) -> None:
    """End the process here, at once, if this is the armed failpoint and its pass has come."""
    if _Armed.point != point:
        return
    _Armed.passes_left -= 1
    if _Armed.passes_left == 0:
        os._exit(EXIT_CODE)
