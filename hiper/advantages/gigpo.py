"""GiGPO: groups of episodes, and within them groups of turns at one observation (Feng et al. 2025, arXiv 2505.10978).

    A_t = A_E + w A_S(t)                                                                           (equation 8)
    A_E = return of the episode against the episodes of its task group                             (equation 3)
    A_S = G_t against the turns of the task group that saw the same observation, G_t = r_t + gamma G_{t+1}
                                                                                                   (equations 6, 7)

"Against" is minus the mean, and with `mean_std` divided by the standard deviation plus 1e-6. Two turns of a trajectory
may share a group: it came back to where it was. A turn whose observation nobody shares has A_S = 0, and so has one
whose observation is not known. The means of A_E are over trajectories, as in the paper; its published code weighs them
by their numbers of turns. No critic, no bootstrapping: a truncated episode counts as it stands.
"""

from dataclasses import dataclass

from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.checks import member, require_not_negative, require_share
from hiper.advantages.columns import FloatArray
from hiper.advantages.groups import GroupNorm, labels, relative
from hiper.advantages.turns import Turns

__all__ = ["GigpoConfig", "estimate_gigpo", "relative_to_anchor"]


@dataclass(frozen=True)
class GigpoConfig:
    """Parameters of GiGPO; the defaults are those of its ALFWorld runs."""

    gamma: float = 0.95
    """Discount per turn of the step part; the episode part is not discounted."""
    step_weight: float = 1.0
    """Factor w of the step part."""
    norm: GroupNorm = GroupNorm.MEAN_STD
    """Of both parts; the WebShop runs use `mean`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", member("gigpo norm", GroupNorm, self.norm))
        require_share("gigpo gamma", self.gamma)
        require_not_negative("gigpo step_weight", self.step_weight)


def estimate_gigpo(batch: TurnBatch, config: GigpoConfig) -> TurnAdvantages:
    """Compute one advantage per turn; it needs `batch.group` and `batch.anchor`.

    Raises:
        DataError: a reward is missing (names the row), or the batch has no groups or no anchors.
    """
    turns = Turns.of(batch)
    episode = relative(turns.episode_returns(), labels(turns.groups("gigpo")), config.norm)
    step = relative_to_anchor(turns, turns.returns_to_go(config.gamma), config.norm, "gigpo")
    return turns.one_for_all_levels(episode[turns.trajectory] + config.step_weight * step, whitened=False)


def relative_to_anchor(turns: Turns, values: FloatArray, norm: GroupNorm, needed_by: str) -> FloatArray:
    """What `values` are against those of the turns with the same task group and observation; all are [turns]."""
    return relative(values, labels(turns.groups(needed_by)[turns.trajectory], turns.anchors(needed_by)), norm)
