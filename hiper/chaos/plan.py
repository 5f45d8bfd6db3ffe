"""What the nemesis does and when: drawn from one seed, so that a bad run can be had again.

The plan depends on the seed and on the names of the processes, not on what they do; only the moments at which its
deeds fall into the work of the processes differ from one run to the next.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Deed", "DeedKind", "PlanLimits", "deeds"]


class DeedKind(StrEnum):
    """Kinds of trouble."""

    KILL = "kill"
    """SIGKILL."""
    FREEZE = "freeze"
    """SIGSTOP, and SIGCONT after a while."""
    RESET = "reset"
    """Every connection to the broker is cut with RST."""
    PARTITION = "partition"
    """Connections to the broker stand and carry nothing for a while."""
    SLOW = "slow"
    """The broker answers late and in small pieces for a while."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One deed of the nemesis."""

    pause_s: float
    """Seconds since the deed before."""
    kind: DeedKind
    target: str
    """Process name; `network` for what is done to the way to the broker."""
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """How hard the nemesis is."""

    mean_pause_s: float = 1.5
    longest_freeze_s: float = 3.0
    longest_network_fault_s: float = 3.0
    kill_share: float = 0.75
    """Share of deeds that are kills; the rest are freezes and, where there is a proxy, network faults."""


def deeds(seed: int, targets: Sequence[str], limits: PlanLimits, *, network: bool) -> Iterator[Deed]:
    """Yield deeds for ever. Every process comes up once in each round, in an order of its own, so none is spared."""
    generator = random.Random(f"nemesis/{seed}")
    troubles = [DeedKind.FREEZE]
    if network:
        troubles += [DeedKind.RESET, DeedKind.PARTITION, DeedKind.SLOW]
    while True:
        for target in generator.sample(list(targets), len(targets)):
            pause_s = generator.uniform(0.3, 1.7) * limits.mean_pause_s
            if generator.random() < limits.kill_share:
                yield Deed(pause_s, DeedKind.KILL, target)
                continue
            kind = generator.choice(troubles)
            if kind is DeedKind.FREEZE:
                yield Deed(pause_s, kind, target, generator.uniform(0.3, limits.longest_freeze_s))
            else:
                yield Deed(pause_s, kind, "network", generator.uniform(0.3, limits.longest_network_fault_s))
