"""GRPO: the return of an episode against those of the other episodes of its task (Shao et al. 2024, arXiv 2402.03300).

    A_i = (R_i - mean_j R_j) / (std_j R_j + 1e-6)        i, j: trajectories of one task group, R: sum of shaped rewards

Every token of the trajectory carries A_i. No critic, no bootstrapping: a truncated episode counts as it stands.
`mean` leaves the division out ("Dr. GRPO", Liu et al. 2025, arXiv 2503.20783). `hiper.advantages.groups` has the
degenerate groups.
"""

from dataclasses import dataclass

from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.checks import member
from hiper.advantages.groups import GroupNorm, labels, relative
from hiper.advantages.turns import Turns

__all__ = ["GrpoConfig", "estimate_grpo"]


@dataclass(frozen=True)
class GrpoConfig:
    """Parameters of GRPO."""

    norm: GroupNorm = GroupNorm.MEAN_STD

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", member("grpo norm", GroupNorm, self.norm))


def estimate_grpo(batch: TurnBatch, config: GrpoConfig) -> TurnAdvantages:
    """Compute one advantage per trajectory; it needs `batch.group`.

    Raises:
        DataError: a reward is missing (names the row), or the batch has no groups.
    """
    turns = Turns.of(batch)
    per_trajectory = relative(turns.episode_returns(), labels(turns.groups("grpo")), config.norm)
    return turns.one_for_all_levels(per_trajectory[turns.trajectory], whitened=False)
