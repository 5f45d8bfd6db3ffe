"""Random batches of turns, and the estimators written slowly, straight from the equations (method.md, 3-5 and 9)."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from hiper.advantages.batch import TurnBatch
from hiper.advantages.hae import HaeConfig, HaeMode
from hiper.vocabulary import Level

PER_TURN = ("reward", "v_low", "v_high", "v_switch", "truncation_value", "previous_v_low")
SHARES = st.sampled_from([0.0, 0.3, 0.95, 1.0])


def make_batch(switches: list[list[bool]], seed: int = 0, **columns) -> TurnBatch:
    """One trajectory per list of switch decisions; numbers are random, every block is there, the last turn wins."""
    rng = np.random.default_rng(seed)
    size = sum(map(len, switches))
    last = np.cumsum([len(one) for one in switches]) - 1
    ended = np.zeros(size, dtype=bool)
    ended[last] = True
    content = {
        "trajectory": np.repeat(np.arange(len(switches)), [len(one) for one in switches]),
        "turn": np.concatenate([np.arange(len(one)) for one in switches]),
        "switch": np.concatenate(switches),
        "terminated": ended,
        "truncated": np.zeros(size, dtype=bool),
        "switch_probability": rng.uniform(size=size),
        "group": np.repeat(np.arange(len(switches)) % 2, [len(one) for one in switches]),
        "anchor": rng.integers(-1, 4, size),
        **{f"has_{block}_tokens": np.ones(size, dtype=bool) for block in ("action", "subgoal", "switch")},
        **{name: rng.normal(size=size) * 3 for name in PER_TURN},
    }
    return TurnBatch(**(content | columns))


def rows_of(batch: TurnBatch, rows) -> TurnBatch:
    """The chosen rows, in that order; a row may be chosen twice."""
    rows = np.asarray(rows)
    return replace(batch, **{name: getattr(batch, name)[rows] for name in batch.__dataclass_fields__})


@st.composite
def batches(draw) -> TurnBatch:
    """Up to five trajectories of up to nine turns; ends are terminations or truncations, dones may come early."""
    switches = draw(st.lists(st.lists(st.booleans(), min_size=1, max_size=9), min_size=1, max_size=5))
    batch = make_batch(switches, draw(st.integers(0, 2**32 - 1)))
    size = len(batch)
    flags = st.lists(st.booleans(), min_size=size, max_size=size)
    truncated = np.array(draw(flags)) & batch.terminated
    early = np.array(draw(flags)) & np.array(draw(flags)) & ~batch.terminated
    return replace(
        batch,
        truncated=truncated,
        terminated=(batch.terminated & ~truncated) | early,
        **{f"has_{block}_tokens": draw(flags) for block in ("action", "subgoal", "switch")},
    )


@st.composite
def configs(draw) -> HaeConfig:
    return HaeConfig(
        mode=draw(st.sampled_from(HaeMode)),
        gamma=draw(SHARES),
        lam_low=draw(SHARES),
        lam_seg=draw(SHARES),
        bootstrap_truncated=draw(st.booleans()),
        whiten=False,
    )


@dataclass
class Slow:
    """HAE by recursion over the turns of one trajectory, given as row numbers in order."""

    batch: TurnBatch
    config: HaeConfig
    rows: list[int]

    def __post_init__(self) -> None:
        self.starts = [i for i in range(len(self.rows)) if i == 0 or self.batch.switch[self.rows[i]]]
        self.ends = [*(start - 1 for start in self.starts[1:]), len(self.rows) - 1]

    def at(self, name: str, i: int) -> float:
        return float(getattr(self.batch, name)[self.rows[i]])

    def live(self, i: int) -> float:
        return 0.0 if self.at("terminated", i) else 1.0

    def segment(self, i: int) -> int:
        return max(k for k, start in enumerate(self.starts) if start <= i)

    def beyond(self, k: int, level: Level) -> float:
        """What follows segment k."""
        if k + 1 < len(self.starts):
            return self.at("v_high", self.starts[k + 1])
        if self.config.mode is HaeMode.COMPAT:
            name, place = ("v_low", self.ends[k]) if level is Level.LOW else ("v_high", self.starts[k])
            return self.at(name, place) if self.config.bootstrap_truncated else 0.0
        return self.at("truncation_value", self.ends[k]) if self.at("truncated", self.ends[k]) else 0.0

    def following(self, i: int) -> float:
        k = self.segment(i)
        return self.beyond(k, Level.LOW) if i == self.ends[k] else self.at("v_low", i + 1)

    def low(self, i: int) -> float:
        gamma, live = self.config.gamma, self.live(i)
        delta = self.at("reward", i) + gamma * live * self.following(i) - self.at("v_low", i)
        if i == self.ends[self.segment(i)]:
            return delta
        return delta + gamma * self.config.lam_low * live * self.low(i + 1)

    def segment_reward(self, k: int) -> float:
        start, end = self.starts[k], self.ends[k]
        return sum(self.config.gamma ** (i - start) * self.at("reward", i) for i in range(start, end + 1))

    def high(self, k: int) -> float:
        start, end = self.starts[k], self.ends[k]
        discount = self.config.gamma ** (end - start + 1) * self.live(end)
        delta = self.segment_reward(k) + discount * self.beyond(k, Level.HIGH) - self.at("v_high", start)
        if k + 1 == len(self.starts):
            return delta
        return delta + discount * self.config.lam_seg * self.high(k + 1)

    def switch_return(self, i: int) -> float:
        k = self.segment(i)
        end = self.ends[k]
        after = self.live(end) * self.beyond(k, Level.SWITCH) if i == end else self.switch_return(i + 1)
        return self.at("reward", i) + self.config.gamma * after

    def gain(self, i: int) -> float:
        q = self.at("switch", i)
        return (q - self.at("switch_probability", i)) * (self.at("v_high", i) - self.at("previous_v_low", i))


def slow_hae(batch: TurnBatch, config: HaeConfig) -> dict[str, dict[Level, np.ndarray]]:
    """`raw` and `returns` of `estimate_hae` for distinct rows, the slow way."""
    paper = config.mode is HaeMode.PAPER
    found = {kind: {level: np.full(len(batch), np.nan) for level in Level} for kind in ("raw", "returns")}
    for trajectory in set(batch.trajectory.tolist()):
        rows = sorted(np.flatnonzero(batch.trajectory == trajectory).tolist(), key=lambda row: batch.turn[row])
        slow = Slow(batch, config, rows)
        for i, row in enumerate(rows):
            low, value = slow.low(i), slow.at("v_low", i)
            one_step = slow.at("reward", i) + config.gamma * slow.live(i) * slow.following(i)
            found["returns"][Level.LOW][row] = one_step if paper else low + value
            if batch.has_action_tokens[row]:
                found["raw"][Level.LOW][row] = low
            if not paper:
                found["returns"][Level.SWITCH][row] = slow.switch_return(i)
            if batch.has_switch_tokens[row] and not (paper and i == 0):
                advantage = slow.gain(i) if paper else slow.switch_return(i) - slow.at("v_switch", i)
                found["raw"][Level.SWITCH][row] = advantage
            if i in slow.starts:
                high, v_high = slow.high(slow.starts.index(i)), slow.at("v_high", i)
                found["returns"][Level.HIGH][row] = slow.switch_return(i) if paper else high + v_high
                if batch.has_subgoal_tokens[row]:
                    found["raw"][Level.HIGH][row] = high
    return found


def slow_gae(rewards, values, gamma: float, lam: float) -> list[float]:
    """Flat GAE of one trajectory that ended."""
    advantage, found = 0.0, []
    following = 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        advantage = reward + gamma * following - value + gamma * lam * advantage
        following = value
        found.append(advantage)
    return found[::-1]
