"""`RunConfig`: everything one run is made of, in one file."""

from typing import Annotated

from pydantic import Field, model_validator

from hiper.config.sections import (
    BrokerSettings,
    EnvSettings,
    EvaluationSettings,
    HaeSettings,
    LearnerSettings,
    ModelSettings,
    RewardSettings,
    RolloutSettings,
    Section,
    SupervisorSettings,
    WarmstartSettings,
)
from hiper.config.tracing import TracingSettings
from hiper.config.weights import WeightsSettings
from hiper.vocabulary import EnvName

__all__ = ["RunConfig"]


class RunConfig(Section):
    """The resolved configuration of a run. Stored with the run; its hash is exported as `hiper_config_info`."""

    run: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")] = "run"
    """Name of the run: lower-case letters, digits and dashes. Part of every trajectory id and broker key."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of everything random: task order, environments, sampling, initialisation."""
    model: ModelSettings = ModelSettings()
    broker: BrokerSettings = BrokerSettings()
    env: EnvSettings = EnvSettings()
    rollout: RolloutSettings = RolloutSettings()
    reward: RewardSettings = RewardSettings()
    hae: HaeSettings = HaeSettings()
    learner: LearnerSettings = LearnerSettings()
    weights: WeightsSettings = WeightsSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    warmstart: WarmstartSettings = WarmstartSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    tracing: TracingSettings = TracingSettings()

    @property
    def batch_size(self) -> int:
        """Trajectories of one training batch."""
        return self.learner.tasks_per_batch * self.learner.samples_per_task

    @model_validator(mode="after")
    def _broker_read_fits_its_timeout(self) -> "RunConfig":
        if self.broker.block_ms / 1000 >= self.broker.socket_timeout_s:
            raise ValueError("broker.block_ms must be shorter than broker.socket_timeout_s, or every idle read fails")
        return self

    @model_validator(mode="after")
    def _warm_start_makes_compact_prompts(self) -> "RunConfig":
        if self.warmstart.enabled and self.rollout.prompt.style != "compact":
            raise ValueError("warmstart.enabled makes a word-level model: it needs rollout.prompt.style 'compact'")
        if self.warmstart.enabled and self.env.name != EnvName.ALFWORLD:
            raise ValueError(f"warmstart.enabled: its demonstrator plays alfworld, not {self.env.name}")
        return self

    @model_validator(mode="after")
    def _estimator_has_what_it_compares(self) -> "RunConfig":
        estimator = self.hae.estimator
        if estimator.needs_group and self.learner.samples_per_task == 1:
            raise ValueError(
                f"hae.estimator '{estimator.name}' compares the episodes of a task: learner.samples_per_task must be "
                "at least 2, or every advantage is 0"
            )
        return self

    @model_validator(mode="after")
    def _a_critic_that_is_not_kept_has_no_settings(self) -> "RunConfig":
        estimator = self.hae.estimator
        if estimator.needs_critic:
            return self
        if self.learner.critic_warmup_iterations:
            raise ValueError(f"learner.critic_warmup_iterations: '{estimator.name}' has no critic; set it to 0")
        if self.model.critic_path is not None:
            raise ValueError(f"model.critic_path: '{estimator.name}' has no critic; leave it out")
        return self
