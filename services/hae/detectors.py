"""Alarms: the known ways in which learning collapses, noticed within a few batches (method.md, sections 15 and 17).

An alarm begins once `patience` batches in a row are past its limit, and ends once as many in a row are not; a batch
that does not determine the figure counts neither way. Each beginning and each end is one warning in the log; in between
`hiper_hae_alarm{kind}` is 1. A process sees the batches it computes, and starts anew when it is restarted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hiper import logs
from hiper.config.sections import DetectorSettings
from hiper.metrics import gauge
from hiper.vocabulary import Level
from services.hae.health import BatchHealth

__all__ = ["Alarm", "Detectors", "Symptom", "Watch", "symptoms"]


class Alarm(StrEnum):
    """Kinds of alarms."""

    ALWAYS_KEEP = "always_keep"
    ALWAYS_SWITCH = "always_switch"
    KEEP_DRIFT = "keep_drift"
    FORMAT = "format"
    CLIPPING = "clipping"
    ZERO_VARIANCE = "zero_variance"
    CRITIC_LOW = "critic_low"
    CRITIC_HIGH = "critic_high"
    CRITIC_SWITCH = "critic_switch"


_MEANING = {
    Alarm.ALWAYS_KEEP: "the policy keeps its first sub-goal for ever: HAE becomes flat GAE; raise the KEEP penalty",
    Alarm.ALWAYS_SWITCH: "the policy switches at every turn: segments are single turns; lower the KEEP penalty",
    Alarm.KEEP_DRIFT: "KEEP turns write another sub-goal than the one in force; raise the consistency penalty",
    Alarm.FORMAT: "responses are malformed; raise the penalty of invalid output, or lower the learning rate",
    Alarm.CLIPPING: "responses run into their limit: the text behind the blocks grows",
    Alarm.ZERO_VARIANCE: "all samples of a task return the same: group-relative advantages vanish",
    Alarm.CRITIC_LOW: "the critic's low head is worse than a constant",
    Alarm.CRITIC_HIGH: "the critic's high head is worse than a constant",
    Alarm.CRITIC_SWITCH: "the critic's switch head is worse than a constant",
}


@dataclass(frozen=True, slots=True)
class Symptom:
    """One figure and its limit."""

    figure: float | None
    limit: float
    above: bool = False
    """Which side of the limit is bad; the limit itself is."""

    @property
    def past(self) -> bool | None:
        """Whether the figure is past its limit; None if there is none."""
        if self.figure is None:
            return None
        return self.figure >= self.limit if self.above else self.figure <= self.limit


def symptoms(health: BatchHealth, limits: DetectorSettings) -> Mapping[Alarm, Symptom]:
    """Hold the figures of a batch against the limits."""
    explained, critic = health.explained_variance, limits.explained_variance
    return {
        Alarm.ALWAYS_KEEP: Symptom(health.switch_rate, limits.always_keep),
        Alarm.ALWAYS_SWITCH: Symptom(health.switch_rate, limits.always_switch, above=True),
        Alarm.KEEP_DRIFT: Symptom(health.keep_consistency, limits.keep_consistency),
        Alarm.FORMAT: Symptom(health.valid_rate, limits.valid_rate),
        Alarm.CLIPPING: Symptom(health.clipped_rate, limits.clipped_rate, above=True),
        Alarm.ZERO_VARIANCE: Symptom(health.zero_variance_groups, limits.zero_variance_groups, above=True),
        Alarm.CRITIC_LOW: Symptom(explained.get(Level.LOW), critic),
        Alarm.CRITIC_HIGH: Symptom(explained.get(Level.HIGH), critic),
        Alarm.CRITIC_SWITCH: Symptom(explained.get(Level.SWITCH), critic),
    }


class Watch:
    """One symptom over batches, with hysteresis."""

    def __init__(self, patience: int) -> None:
        self.active = False
        self._patience = patience
        self._streak = 0

    def see(self, past: bool | None) -> bool:
        """Take in a batch; return whether the alarm has just begun or ended."""
        if past is None:
            return False
        self._streak = 0 if past == self.active else self._streak + 1
        if self._streak < self._patience:
            return False
        self.active, self._streak = past, 0
        return True


class Detectors:
    """All alarms of a process."""

    def __init__(self, limits: DetectorSettings) -> None:
        self._limits = limits
        self._watches = {alarm: Watch(limits.patience) for alarm in Alarm}
        self._log = logs.get()
        for alarm in Alarm:
            gauge("hae_alarm").labels(kind=alarm.value).set(0)

    @property
    def active(self) -> frozenset[Alarm]:
        """The alarms that have begun and not ended."""
        return frozenset(alarm for alarm, watch in self._watches.items() if watch.active)

    def see(self, health: BatchHealth) -> None:
        """Take in a batch: log what begins and what ends, and set the gauges."""
        for alarm, symptom in symptoms(health, self._limits).items():
            watch = self._watches[alarm]
            if watch.see(symptom.past):
                gauge("hae_alarm").labels(kind=alarm.value).set(watch.active)
                event = f"alarm {alarm}: {_MEANING[alarm]}" if watch.active else f"alarm {alarm} is over"
                self._log.warning(event, alarm=alarm.value, figure=symptom.figure, limit=symptom.limit)
