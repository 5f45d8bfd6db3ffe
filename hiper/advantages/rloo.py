"""RLOO: the return of an episode less the mean return of the others of its task (Ahmadian et al., arXiv 2402.14740).

    A_i = R_i - 1/(n-1) sum_{j != i} R_j                  i, j: the n trajectories of a task group

The baseline does not depend on the episode it is taken off, so the gradient is unbiased, which GRPO's is not. Every
token of the trajectory carries A_i. No critic, no bootstrapping: a truncated episode counts as it stands.
"""

from dataclasses import dataclass

from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.groups import advantage_over, labels, mean_of_others
from hiper.advantages.turns import Turns

__all__ = ["RlooConfig", "estimate_rloo"]


@dataclass(frozen=True)
class RlooConfig:
    """RLOO has no parameters."""


def estimate_rloo(batch: TurnBatch, config: RlooConfig) -> TurnAdvantages:  # noqa: ARG001 - the shape of an estimator
    """Compute one advantage per trajectory; it needs `batch.group`.

    Raises:
        DataError: a reward is missing (names the row), or the batch has no groups.
    """
    turns = Turns.of(batch)
    returns = turns.episode_returns()
    per_trajectory = advantage_over(returns, mean_of_others(returns, labels(turns.groups("rloo"))))
    return turns.one_for_all_levels(per_trajectory[turns.trajectory], whitened=False)
