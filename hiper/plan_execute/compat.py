"""The reference's readings of a response, quirks included, for comparison with recordings (method.md, 8.2, 11.2).

Nothing in a run uses them; they show that the difference between the original's parser and ours is understood.
"""

from dataclasses import dataclass

from hiper.plan_execute.blocks import SWITCH, find_block
from hiper.vocabulary import EnvName

__all__ = ["ReferenceReading", "opens_segment_in_reference", "read_as_reference"]

_TAIL = {EnvName.ALFWORLD: 30, EnvName.WEBSHOP: 20}


@dataclass(frozen=True, slots=True)
class ReferenceReading:
    """What the reference's environment makes of a response."""

    action: str
    subgoal: str
    switch: str
    valid: bool


def read_as_reference(response: str, env: EnvName) -> ReferenceReading:
    """Parse by plain substring search, step by step as the reference does."""
    lowered = response.lower()
    start, stop = lowered.find("<action>"), lowered.find("</action>")
    if start < 0 or stop < 0:
        return ReferenceReading(lowered[-_TAIL[env] :], "", "", valid=False)
    action = lowered[start + len("<action>") : stop].strip()
    switch, subgoal, valid = _plan(response, action, env)
    if any("\u4e00" <= character <= "\u9fff" for character in response):
        valid = False
    return ReferenceReading(action, subgoal, switch, valid)


def opens_segment_in_reference(response: str) -> bool:
    """Whether the reference's trainer starts a segment here: any decision but KEEP, garbage included; none is KEEP."""
    block = find_block(response, SWITCH)
    return block is not None and block.content.strip().upper() not in ("", "KEEP")


def _plan(response: str, action: str, env: EnvName) -> tuple[str, str, bool]:
    start, stop = response.find("<switch>"), response.find("</switch>")
    if start < 0 or stop < 0:
        return "", action[-30:] if env is EnvName.ALFWORLD else "None", False
    switch = response[start + len("<switch>") : stop].strip().upper()
    if switch not in ("KEEP", "SWITCH"):
        return "" if env is EnvName.ALFWORLD else "KEEP", "", False
    start, stop = response.find("<subgoal>"), response.find("</subgoal>")
    if start < 0 or stop < 0:
        return switch, "", False
    return switch, response[start + len("<subgoal>") : stop].strip(), True
