"""One rank of a learner: `torchrun deepspeed_worker.py TASKS.json`. A task says where to begin and how far to go.

A start takes far longer than updates of so small a model, so one start does many tasks, each with trainers of its own.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "learner"))
from learner_made import VOCABULARY, make_trajectory, tiny_model

from hiper.config.sections import LearnerSettings
from services.learner import deepspeed_backend
from services.learner.crew import Crew, FollowingTrainer, LeadingTrainer
from services.learner.deepspeed_backend import connect
from services.learner.lora import add_lora
from services.learner.model import Critic, checkpoint_activations
from services.learner.rows import rows_of
from services.learner.trainer import Models, Trainer


def models(settings: LearnerSettings) -> Models:
    actor, critic, reference = tiny_model(1), Critic.from_causal_lm(tiny_model(2)), tiny_model(3)
    if settings.gradient_checkpointing:
        checkpoint_activations(actor)
    if settings.lora is None:
        return Models(actor, critic, reference)
    add_lora(actor, settings.lora, seed=1)
    return Models(actor, critic, actor)


def rows(version: int):
    # An odd number: the ranks' shares differ.
    return rows_of((make_trajectory(10 * version + seed, turns=3) for seed in range(3)), VOCABULARY)


def train(trainer: Trainer, task: dict) -> dict:
    first, last = task["versions"]
    if task.get("restore"):
        trainer.restore(Path(task["restore"]), first)
    asked, lines = [row.tokens for row in rows(0)], []
    for version in range(first, last):
        trainer.values(asked)  # between updates, as in a run
        lines.append(trainer.update(rows(version), version))
    values, version = trainer.values(asked)
    if task.get("save"):
        Path(task["save"]).mkdir()
        trainer.save(Path(task["save"]))
    with trainer.whole_actor() as actor:
        save_file({name: tensor.clone() for name, tensor in actor.named_parameters()}, task["weights"])
    return {"lines": lines, "values": values.tolist(), "critic_version": version}


def share_out_everything() -> None:
    """ZeRO-3 keeps small weights whole on every rank, and here all are small."""
    usual = deepspeed_backend._config

    def config(*arguments: Any) -> dict[str, Any]:
        made = usual(*arguments)
        return {**made, "zero_optimization": {**made["zero_optimization"], "stage3_param_persistence_threshold": 0}}

    deepspeed_backend._config = config


def main() -> None:
    torch.set_num_threads(1)
    share_out_everything()
    tasks = json.loads(Path(sys.argv[1]).read_text())
    ranks = None
    for task in tasks:
        settings = LearnerSettings.model_validate(task["settings"])
        assert settings.backend.name == "deepspeed"
        ranks = ranks or connect(torch.device("cpu"), settings.backend)
        kind = FollowingTrainer if ranks.index else LeadingTrainer
        trainer = kind(models(settings), settings, 3, ranks, crew=Crew(ranks))
        if not trainer.follow():
            with trainer.leading():
                outcome = train(trainer, task)
            Path(task["outcome"]).write_text(json.dumps(outcome))
    os._exit(0)  # as `hiper learner` does: gloo may abort a process that ends in order


if __name__ == "__main__":
    main()
