"""HAE without a critic: every decision is compared with its peers, the other episodes of its task.

With G_t = r_t + gamma G_{t+1}, the discounted reward from turn t to the end of the trajectory:

    A_high(k)   = G_{b_k} - baseline   the vote of a peer: G at its k-th boundary
    A_low(t)    = G_t     - baseline   t in segment k; the vote of a peer: the mean G of the turns of its k-th segment
    A_switch(t) = G_t     - baseline   decided while the k-th sub-goal was in force (at turn 0: none); the vote of a
                                       peer: the mean G of the turns at which it decided about its k-th

The peers are the other trajectories of the task group that got as far. A baseline is the mean of their votes, one each;
one's own return is no part of it, as in RLOO.

- What a decision is compared by - the number of the segment it falls into - is known before it is taken: a switch
  decision belongs to the segment it may end, a sub-goal and an action to the one they serve. And no own return is part
  of a baseline. So baselines depend on nothing that the decision changes, and the gradient is unbiased (gamma = 1, no
  truncation).
- HAE bootstraps with V_high at the next boundary. Here that is replaced by what V_high estimates, the trajectory's own
  return from there. A mean over the group would say the same of every trajectory, good or bad: bootstrapping with it
  would hide from a segment what it led to. For the same reason there is no lambda.
- What is left of the hierarchy is the choice of peers: an episode that needed a fourth sub-goal is compared with
  episodes that needed one too, not with those that had won by then.
- Without peers (no other trajectory of the task got as far, or there is none) the advantage is 0: nothing is known. A
  truncated episode counts as it stands.

Reductions, exact: at the first boundary and gamma = 1, A_high is RLOO's advantage. With one segment per trajectory, the
reward on the last turn and gamma = 1, so is A_low. With a SWITCH on every turn the three levels are one.
"""

from dataclasses import dataclass

import numpy as np

from hiper.advantages.batch import TurnAdvantages, TurnBatch
from hiper.advantages.checks import require_share
from hiper.advantages.columns import BoolArray, FloatArray, LevelArrays
from hiper.advantages.groups import advantage_over, labels, mean_of_others
from hiper.advantages.turns import Turns
from hiper.vocabulary import Level

__all__ = ["HaeGroupConfig", "estimate_hae_group", "group_levels"]


@dataclass(frozen=True)
class HaeGroupConfig:
    """Parameters of critic-free HAE."""

    gamma: float = 1.0
    """Discount per turn."""
    whiten: bool = True
    """Normalise each level over the turns that own a token of it."""

    def __post_init__(self) -> None:
        require_share("hae_group gamma", self.gamma)


def estimate_hae_group(batch: TurnBatch, config: HaeGroupConfig) -> TurnAdvantages:
    """Compute three advantages per turn; it needs `batch.group`.

    Raises:
        DataError: a reward is missing (names the row), or the batch has no groups.
    """
    turns = Turns.of(batch)
    return turns.per_level(group_levels(turns, turns.returns_to_go(config.gamma), "hae_group"), whitened=config.whiten)


def group_levels(turns: Turns, returns_to_go: FloatArray, needed_by: str) -> LevelArrays:
    """The three advantages of every turn, [turns], whether or not it owns the tokens; high is 0 off boundaries."""
    starts = turns.segments.starts
    # A decision to SWITCH still belongs to the segment it ends: these runs start one turn later, and at turn 0.
    decided = turns.order.first | np.append(False, starts[:-1])[: len(starts)]
    high = np.zeros(len(starts))
    high[starts] = _over_peers(turns, returns_to_go, starts, returns_to_go[starts], needed_by)[starts]
    return {
        Level.LOW: _over_peers(turns, returns_to_go, starts, _means(returns_to_go, starts), needed_by),
        Level.HIGH: high,
        Level.SWITCH: _over_peers(turns, returns_to_go, decided, _means(returns_to_go, decided), needed_by),
    }


def _over_peers(
    turns: Turns, returns_to_go: FloatArray, starts: BoolArray, votes: FloatArray, needed_by: str
) -> FloatArray:
    """`returns_to_go`, [turns], less what the peers of each run voted on average; 0 for a run without peers.

    `starts` cuts every trajectory into runs, each with one of `votes`, [runs]. The peers of a trajectory's k-th run are
    the k-th runs of the others of its task group.
    """
    run = np.cumsum(starts) - 1
    of_trajectory = turns.trajectory[starts]
    first_run = run[turns.order.first]
    nth = np.arange(len(votes)) - first_run[of_trajectory]
    peers = labels(turns.groups(needed_by)[of_trajectory], nth)
    return advantage_over(returns_to_go, mean_of_others(votes, peers)[run])


def _means(values: FloatArray, starts: BoolArray) -> FloatArray:
    """Mean of `values`, [turns], over each run, [runs]; exactly the value where all are equal."""
    run, first = np.cumsum(starts) - 1, values[starts]
    means: FloatArray = first + np.bincount(run, values - first[run]) / np.bincount(run)
    return means
