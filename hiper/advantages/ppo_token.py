"""Token-level GAE: PPO as language models are usually trained with it, over a trajectory of several turns.

The steps are the sampled tokens, turn after turn in one chain. A turn's reward comes with its last token; the discount
acts there only (tokens inside a turn are never discounted, method.md, section 1), lambda at every token:

    delta_j = r_j + g_j V_{j+1} - V_j          A_j = delta_j + g_j lam A_{j+1}          R_j = A_j + V_j

V_j is the value before token j was sampled, so V of a turn's first token is read at the end of its prompt. g_j is gamma
at the last token of a turn and 1 elsewhere; 0 where the episode ended. A truncated episode bootstraps with the value of
the next observation, where it is known. Reductions, exact: where every response is one token this is flat GAE.
"""

from dataclasses import dataclass, field

import numpy as np

from hiper.advantages.batch import TurnBatch, TurnError
from hiper.advantages.checks import require_share
from hiper.advantages.columns import BOOL, FLOAT, INT, BoolArray, Columns, FloatArray, IntArray
from hiper.advantages.scan import reverse_scan, shift
from hiper.advantages.turns import Turns
from hiper.advantages.whitening import whiten

__all__ = ["PpoTokenConfig", "SampledTokens", "TokenAdvantages", "estimate_ppo_token"]


@dataclass(frozen=True)
class PpoTokenConfig:
    """Parameters of token-level GAE."""

    gamma: float = 1.0
    """Discount per turn."""
    lam: float = 1.0
    """Lambda per token."""
    whiten: bool = True
    """Normalise over the tokens in the loss."""

    def __post_init__(self) -> None:
        for name in ("gamma", "lam"):
            require_share(f"ppo_token {name}", getattr(self, name))


@dataclass(frozen=True, eq=False)
class SampledTokens(Columns):
    """The sampled tokens of a batch, response after response in the order of its rows, [tokens] each."""

    row: IntArray = field(metadata=INT)
    """Row of the turn the token belongs to, ascending."""
    value: FloatArray = field(metadata=FLOAT)
    """Value before the token was sampled."""
    in_loss: BoolArray = field(metadata=BOOL)
    """The token is trained; one that is not still passes credit on."""


@dataclass(frozen=True, eq=False)
class TokenAdvantages:
    """Advantages and critic targets, [tokens] each, NaN for the tokens of copied rows."""

    advantages: FloatArray
    """Whitened if told to; NaN outside the loss."""
    raw: FloatArray
    """The same before whitening."""
    returns: FloatArray
    """Critic targets."""


def estimate_ppo_token(batch: TurnBatch, tokens: SampledTokens, config: PpoTokenConfig) -> TokenAdvantages:
    """Compute one advantage per sampled token.

    Raises:
        DataError: a reward or value is missing, or a response is empty, so that its reward has no token; names the row.
    """
    turns = Turns.of(batch)
    rows, last = turns.order.rows, turns.order.last
    at, final = _chain(turns, tokens)
    value = tokens.value[at]
    batch.require_finite("a token's value", value, tokens.row[at], None, "token-level GAE needs it at every token")

    reward, discount, following = np.zeros(len(at)), np.ones(len(at)), shift(value)
    reward[final] = turns.reward
    discount[final] = config.gamma * ~batch.terminated[rows]
    following[final[last]] = batch.bootstrap_values(rows[last])
    delta = reward + discount * following - value
    discount[final[last]] = 0.0
    advantage = reverse_scan(delta, config.lam * discount)

    in_loss = tokens.in_loss[at]
    raw = np.where(in_loss, advantage, np.nan)

    def in_place(values: FloatArray) -> FloatArray:
        placed = np.full(len(tokens), np.nan)
        placed[at] = values
        return placed

    return TokenAdvantages(
        advantages=in_place(whiten(advantage, in_loss) if config.whiten else raw),
        raw=in_place(raw),
        returns=in_place(advantage + value),
    )


def _chain(turns: Turns, tokens: SampledTokens) -> tuple[IntArray, IntArray]:
    """Where each token of the distinct turns in order is, [tokens], and which of them end a turn, [turns]."""
    lengths = np.bincount(tokens.row, minlength=len(turns.batch))
    own = lengths[turns.order.rows]
    if not own.all():
        row = int(turns.order.rows[np.flatnonzero(own == 0)[0]])
        raise TurnError(
            "the response is empty", "token-level GAE needs a token to give the reward to", row, turns.batch
        )
    end = np.cumsum(own)
    begin = (np.cumsum(lengths) - lengths)[turns.order.rows]
    at: IntArray = np.repeat(begin - (end - own), own) + np.arange(own.sum())
    return at, end - 1
