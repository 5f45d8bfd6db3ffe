"""Which estimator makes the advantages, and its parameters (`hiper.advantages` has the equations and sources).

Fields and defaults are those of the estimator's own config. What an estimator needs of the rest of the platform is a
property of its settings, so that everybody asks the same place: a critic, other episodes of the same task, whitening.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, FiniteFloat, field_validator

from hiper.config.base import Section, Share

__all__ = [
    "EstimatorSettings",
    "GaeEstimator",
    "GigpoEstimator",
    "GrpoEstimator",
    "HaeEstimator",
    "HaeGigpoEstimator",
    "HaeGroupEstimator",
    "ReinforcePpEstimator",
    "RlooEstimator",
]

Weight = Annotated[FiniteFloat, Field(ge=0)]


class _Estimator(Section):
    needs_group: ClassVar[bool] = False
    """It compares the episodes of one task."""
    can_whiten: ClassVar[bool] = False
    """`hae.whiten` applies; the others bring a normalisation of their own."""

    @property
    def needs_critic(self) -> bool:
        """Values are read, and the critic is trained. Without, no service keeps one."""
        return False


class _WithCritic(_Estimator):
    can_whiten: ClassVar[bool] = True

    @property
    def needs_critic(self) -> bool:
        return True


class HaeEstimator(_WithCritic):
    """Hierarchical advantage estimation."""

    name: Literal["hae"] = "hae"
    mode: Literal["default", "compat", "paper"] = "default"
    """See method.md, section 18. `paper` is refused here: trajectories do not carry what it needs."""
    gamma: Share = 1.0
    """Discount per turn."""
    lam_low: Share = 1.0
    """Lambda per turn, inside a segment."""
    lam_seg: Share = 0.95
    """Lambda per segment."""

    @field_validator("mode")
    @classmethod
    def _mode_has_its_inputs(cls, mode: str) -> str:
        if mode == "paper":
            raise ValueError(
                "'paper' needs P(SWITCH) and V_low of the previous sub-goal, and trajectories carry neither; "
                "`hiper hae compute --mode paper` takes a file that has them"
            )
        return mode


class GaeEstimator(_WithCritic):
    """Flat turn-level GAE on V_switch, the value before anything of the turn is sampled."""

    name: Literal["gae"] = "gae"
    gamma: Share = 1.0
    """Discount per turn."""
    lam: Share = 0.95
    """Lambda per turn."""


class GrpoEstimator(_Estimator):
    """The episode's return, normalised over the episodes of its task; no critic."""

    needs_group: ClassVar[bool] = True

    name: Literal["grpo"] = "grpo"
    norm: Literal["mean_std", "mean"] = "mean_std"
    """Whether the difference to the group's mean is divided by its standard deviation."""


class RlooEstimator(_Estimator):
    """The episode's return less the mean return of the others of its task; no critic."""

    needs_group: ClassVar[bool] = True

    name: Literal["rloo"] = "rloo"


class ReinforcePpEstimator(_Estimator):
    """Discounted returns, normalised over the whole batch; no critic."""

    name: Literal["reinforce++"] = "reinforce++"
    gamma: Share = 1.0
    """Discount per turn."""


class GigpoEstimator(_Estimator):
    """The episode against those of its task, plus the turn against those at the same observation; no critic."""

    needs_group: ClassVar[bool] = True

    name: Literal["gigpo"] = "gigpo"
    gamma: Share = 0.95
    """Discount per turn of the step part."""
    step_weight: Weight = 1.0
    """Factor of the step part."""
    norm: Literal["mean_std", "mean"] = "mean_std"
    """Of both parts."""


class HaeGroupEstimator(_Estimator):
    """HAE whose baselines are the other episodes of the task, decision by decision; no critic."""

    needs_group: ClassVar[bool] = True
    can_whiten: ClassVar[bool] = True

    name: Literal["hae_group"] = "hae_group"
    gamma: Share = 1.0
    """Discount per turn."""


class HaeGigpoEstimator(_Estimator):
    """HAE for sub-goals and switches, comparison at the same observation for the actions of a segment."""

    needs_group: ClassVar[bool] = True
    can_whiten: ClassVar[bool] = True

    name: Literal["hae_gigpo"] = "hae_gigpo"
    gamma: Share = 0.95
    """Discount per turn."""
    lam_seg: Share = 0.95
    """Lambda per segment; has no meaning with `critic_free`."""
    step_weight: Weight = 1.0
    """Factor of the comparison at the same observation."""
    critic_free: bool = False
    """Take the upper levels from comparison too."""

    @property
    def needs_critic(self) -> bool:
        """As chosen."""
        return not self.critic_free


EstimatorSettings = Annotated[
    HaeEstimator
    | GaeEstimator
    | GrpoEstimator
    | RlooEstimator
    | ReinforcePpEstimator
    | GigpoEstimator
    | HaeGroupEstimator
    | HaeGigpoEstimator,
    Field(discriminator="name"),
]
