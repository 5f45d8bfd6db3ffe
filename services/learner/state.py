"""What the learner knows about its run besides the weights. It lives in the checkpoint and nowhere else."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hiper.durable import JsonValue
from hiper.errors import IntegrityError
from hiper.streams import Verdict
from hiper.vocabulary import DropReason

__all__ = ["EvalRecord", "RunState"]

LEDGER_BATCHES = 8
"""Acknowledged batches the ledger remembers. An entry leaves its stream by the script that acknowledges it, so none of
them can come again; they are kept for people. Batches not yet acknowledged are never forgotten.
"""


@dataclass(frozen=True, slots=True)
class EvalRecord:
    """One evaluation on the panel, by one policy."""

    version: int
    split: str
    won: Mapping[str, int]
    """Won episodes by task type."""
    played: Mapping[str, int]
    """Played episodes by task type; abandoned ones are missing."""
    mean_turns: float
    expected: int
    """Size of the panel."""
    panel: str = ""
    panel_sha256: str = ""
    mean_score: float = 0.0
    """Of the environment, in [0, 1]: WebShop's reward; in ALFWorld the share that was won."""
    ceiling: float | None = None
    """Mean of the best scores there are, where the panel says so."""


@dataclass(slots=True)
class RunState:
    """Mutable; changed by the learner's loop between checkpoints."""

    version: int = 0
    """Policy version = training batches applied. It is the task cursor too: batch b is a function of b and the seed."""
    serial: int = 0
    """Checkpoints written so far."""
    lineage: str = ""
    """Epoch of the broker's data this state goes with."""
    applied: int = 0
    """Trajectories whose effect this state holds, since that epoch began."""
    ledger: dict[str, dict[str, str]] = field(default_factory=dict)
    """Batch id -> trajectory id -> verdict, of the last batches."""
    evaluations: list[EvalRecord] = field(default_factory=list)
    last_line: dict[str, JsonValue] = field(default_factory=dict)
    """The line of `version` in metrics.jsonl, which is written after the checkpoint."""
    config_sha256: str = ""
    """Hash of the settings this state was made with."""
    panels: dict[str, str] = field(default_factory=dict)
    """Hashes of the panels this state was made with: `train` and `evaluation`."""

    def record(self, batch_id: str, verdicts: Mapping[str, Verdict]) -> None:
        """Enter the verdicts of a batch."""
        self.ledger[batch_id] = {name: str(verdict) for name, verdict in verdicts.items()}
        self.applied += sum(verdict == "applied" for verdict in verdicts.values())

    def forget_acknowledged(self) -> None:
        """Forget the oldest batches beyond the bound; to be called when all of them are acknowledged."""
        for old in list(self.ledger)[: max(0, len(self.ledger) - LEDGER_BATCHES)]:
            del self.ledger[old]

    def is_past(self, batch_id: str) -> bool:
        """Whether this state was made with the batch, or without it but beyond it."""
        kind, _, number = batch_id.partition("-")
        numbered = kind in ("train", "eval") and number.isdecimal()
        return batch_id in self.ledger or (numbered and int(number) < self.version)

    def verdict(self, batch_id: str, trajectory_id: str) -> Verdict | None:
        """What became of a trajectory, or None if this state does not hold its effect."""
        word = self.ledger.get(batch_id, {}).get(trajectory_id)
        if word is None:
            return None
        return "applied" if word == "applied" else "empty" if word == "empty" else DropReason(word)

    def evaluated(self, version: int) -> bool:
        """True if the evaluation of `version` is in."""
        return any(record.version == version for record in self.evaluations)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the state as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "RunState":
        """Read what `to_json` wrote. Raises `IntegrityError`."""
        try:
            return cls(**{**tree, "evaluations": [EvalRecord(**record) for record in tree["evaluations"]]})
        except (KeyError, TypeError) as error:
            raise IntegrityError(f"state.json is not a learner state: {error}") from error
