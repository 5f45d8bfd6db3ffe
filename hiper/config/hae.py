"""Settings of the HAE service: how advantages are computed, and when their figures raise an alarm."""

from pydantic import FiniteFloat, field_validator, model_validator

from hiper.config.base import Positive, Seconds, Section, Share
from hiper.config.estimators import EstimatorSettings, HaeEstimator

__all__ = ["DetectorSettings", "HaeSettings"]


class DetectorSettings(Section):
    """When the figures of a batch raise an alarm (method.md, sections 15 and 17). Limits count as past."""

    patience: Positive = 3
    """Batches in a row after which an alarm begins, and after which it ends."""
    always_keep: Share = 0.02
    """Share of decisions for SWITCH, turn 0 left out, below which the policy always keeps."""
    always_switch: Share = 0.98
    """The same share above which it always switches."""
    keep_consistency: Share = 0.5
    """Share of KEEP turns that repeat the sub-goal in force, from below."""
    valid_rate: Share = 0.5
    """Share of well-formed responses, from below. Healthy runs of the reference stay above .9."""
    clipped_rate: Share = 0.25
    """Share of responses that reach their limit, from above. Healthy runs have none, sick ones up to 3 in 4."""
    zero_variance_groups: Share = 0.95
    """Share of groups whose samples all return the same, from above."""
    explained_variance: FiniteFloat = -1.0
    """Of each head of the critic, from below; 0 is as good as a constant."""


class HaeSettings(Section):
    """How advantages are computed."""

    estimator: EstimatorSettings = HaeEstimator()
    """Estimator and its parameters."""
    whiten: bool | None = None
    """Normalise each level over the turns of the batch that own a token of it. None: yes, where the estimator has no
    normalisation of its own."""
    critic_address: str | None = None
    """Address of the critic service (`host:port`). Filled in by `hiper up`."""
    critic_timeout_s: Seconds = 60.0
    """Deadline of one value call; the learner answers between micro-batches."""
    critic_unavailable_timeout_s: Seconds = 300.0
    """How long to keep asking a critic that is away, e.g. while the learner restarts."""
    group_timeout_s: Seconds = 600.0
    """Age at which an incomplete batch is handed on with the members it has."""
    detectors: DetectorSettings = DetectorSettings()
    """When to raise an alarm."""

    @field_validator("estimator", mode="before")
    @classmethod
    def _has_its_values(cls, chosen: object) -> object:
        if isinstance(chosen, dict) and chosen.get("name") == "ppo_token":
            raise ValueError(
                "'ppo_token' needs a value at every token, and no service reads or carries them; "
                "'gae' is PPO per turn, and `hiper.advantages.ppo_token` computes it on arrays"
            )
        return chosen

    @model_validator(mode="after")
    def _whitens_what_can_be(self) -> "HaeSettings":
        if self.whiten is not None and not self.estimator.can_whiten:
            raise ValueError(f"whiten: '{self.estimator.name}' has a normalisation of its own; leave it out")
        return self
