"""REINFORCE++: returns normalised over the whole batch (Hu et al. 2025, arXiv 2501.03262).

    G_t = r_t + gamma G_{t+1}          A_t = (G_t - mean G) / (std G + 1e-8)

The paper's "global advantage normalisation" with the discount of OpenRLHF and verl, per turn instead of per token: mean
and standard deviation are those of the turns of the batch that own a token, not weighted by tokens. The paper puts the
KL penalty into the reward; here it is a term of the learner's loss. No groups, no critic, no bootstrapping.
"""

from dataclasses import dataclass

from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.checks import require_share
from hiper.advantages.turns import Turns

__all__ = ["ReinforcePpConfig", "estimate_reinforce_pp"]


@dataclass(frozen=True)
class ReinforcePpConfig:
    """Parameters of REINFORCE++."""

    gamma: float = 1.0
    """Discount per turn."""

    def __post_init__(self) -> None:
        require_share("reinforce++ gamma", self.gamma)


def estimate_reinforce_pp(batch: TurnBatch, config: ReinforcePpConfig) -> TurnAdvantages:
    """Compute one advantage per turn.

    Raises:
        DataError: a reward is missing; names the row.
    """
    turns = Turns.of(batch)
    return turns.one_for_all_levels(turns.returns_to_go(config.gamma), whitened=True)
