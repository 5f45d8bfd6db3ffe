"""How far the learner's log-probabilities are from those the tokens were sampled with, on every batch.

At the same version the two should differ by rounding only; more means that engine and learner do not compute the same
policy (another temperature, stale weights in a cache, a kernel in low precision), and every ratio is wrong by as much.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hiper import logs
from hiper.config.sections import OffPolicySettings
from hiper.metrics import gauge, histogram
from services.learner.losses import k3
from services.learner.rows import TrainRow
from services.learner.tally import Tally

__all__ = ["MismatchWatch"]

_OBSERVED = 1000
"""Tokens of an update that enter the histogram of differences: a Python call each."""


class MismatchWatch:
    """Measures, and raises an alarm while the KL is over its bound."""

    def __init__(self, settings: OffPolicySettings) -> None:
        self._bound = settings.mismatch_kl_bound
        self._alarmed = False
        self._log = logs.get()

    def measure(self, rows: Sequence[TrainRow], logprobs: Sequence[Tensor], version: int, tally: Tally) -> None:
        """Compare [R] per row of the learner at `version` with what was sampled; rows of that version decide alone
        where there are any.
        """
        if not rows:
            return
        sampled = torch.from_numpy(np.concatenate([row.behaviour_logprobs for row in rows]))
        own = torch.cat(list(logprobs)).float().cpu()
        difference = (own - sampled).abs()
        for sample in difference[:: 1 + len(difference) // _OBSERVED].tolist():
            histogram("learner_logprob_abs_diff").observe(sample)
        tally.mean("logprob_abs_diff", difference)
        tally.mean("logprob_mismatch_k1", sampled - own)
        divergence = k3(sampled, own)
        tally.mean("logprob_mismatch_kl", divergence)
        fresh = np.repeat([row.policy_version == version for row in rows], [len(row.mask) for row in rows])
        if fresh.any():
            divergence = divergence[torch.from_numpy(fresh)]
            tally.mean("logprob_mismatch_kl_fresh", divergence)
        self._judge(float(divergence.mean()), version)

    def _judge(self, divergence: float, version: int) -> None:
        alarmed = not divergence <= self._bound
        gauge("learner_alarm").labels(kind="logprob_mismatch").set(alarmed)
        if alarmed and not self._alarmed:
            self._log.warning(
                "engine and learner disagree about log-probabilities: compare rollout.dtype with learner.dtype, the "
                "sampling temperature and the weights' versions; learner.off_policy.mismatch_kl_bound is the bound",
                kl=round(divergence, 6),
                bound=self._bound,
                policy_version=version,
            )
        elif self._alarmed and not alarmed:
            self._log.info("engine and learner agree again", kl=round(divergence, 6), policy_version=version)
        self._alarmed = alarmed
