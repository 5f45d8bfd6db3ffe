"""Adapters of the actor, and activations that are computed again."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from learner_made import VOCABULARY, make_trajectory, tiny_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from hiper.config.sections import LearnerSettings, LoraSettings
from hiper.errors import ConfigError
from services.learner.checkpoint import CheckpointStore
from services.learner.hf_folder import save_model
from services.learner.lora import add_lora
from services.learner.model import Critic, checkpoint_activations, response_logprobs
from services.learner.packing import PackedBatch, pack
from services.learner.rows import rows_of
from services.learner.state import RunState
from services.learner.trainer import Models, Trainer

LORA = LoraSettings(rank=4, alpha=8.0)


def rows(version: int):
    return rows_of((make_trajectory(10 * version + seed) for seed in range(4)), VOCABULARY)


def packed() -> PackedBatch:
    return pack([row.tokens for row in rows(0)], torch.device("cpu"))


def adapted(settings: LearnerSettings, model=None) -> Trainer:
    model = model or tiny_model()
    add_lora(model, LORA, seed=1)
    return Trainer(Models(model, None, model), settings.model_copy(update={"lora": LORA}), seed=3)


def test_adapters_begin_as_nothing_and_are_all_that_is_trained(settings) -> None:
    trainer, whole = adapted(settings), tiny_model()
    with torch.no_grad():
        torch.testing.assert_close(response_logprobs(trainer.actor, packed()), response_logprobs(whole, packed()))
    before = deepcopy(trainer.actor.state_dict())
    trainer.update(rows(0), 0)
    changed = {name for name, tensor in trainer.actor.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)


def test_the_reference_is_the_model_without_them(settings) -> None:
    """Its KL is that to a second, frozen copy of the model."""
    trainer = adapted(settings)
    apart = adapted(settings)
    apart = Trainer(Models(apart.actor, None, tiny_model()), trainer._settings, seed=3)
    for version in range(3):
        own, copied = trainer.update(rows(version), version), apart.update(rows(version), version)
        assert own["kl_reference"] == pytest.approx(copied["kl_reference"], rel=1e-5)
    assert own["kl_reference"] > 0


def test_what_is_published_has_them_merged(settings, tmp_path) -> None:
    trainer = adapted(settings)
    trainer.update(rows(0), 0)
    save_model(trainer.actor, tmp_path, torch.float32)
    published = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert published.state_dict().keys() == tiny_model().state_dict().keys()
    with torch.no_grad():
        ours, theirs = response_logprobs(trainer.actor, packed()), response_logprobs(published, packed())
        base = response_logprobs(tiny_model(), packed())
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert float((ours[0] - base[0]).abs().max()) > 1e-3


def test_a_checkpoint_holds_the_adapters_alone_and_resumes_bit_for_bit(settings, tmp_path) -> None:
    store, first = CheckpointStore(tmp_path, keep=2), adapted(settings)
    first.update(rows(0), 0)
    store.save(first, RunState(version=1), generation=1)
    (saved,) = tmp_path.rglob("actor.safetensors")
    assert all("lora_" in name for name in load_file(saved))
    second = adapted(settings)
    assert store.load(second) is not None
    for trainer in (first, second):
        trainer.update(rows(1), 1)
    assert all(map(torch.equal, first.actor.state_dict().values(), second.actor.state_dict().values()))


def test_a_target_the_model_does_not_have_is_named() -> None:
    with pytest.raises(ConfigError, match="no linear layer named c_attn"):
        add_lora(tiny_model(), LoraSettings(targets=("q_proj", "c_attn")), seed=1)


def test_activations_computed_again_change_nothing(make_trainer) -> None:
    kept, again = make_trainer(), make_trainer()
    checkpoint_activations(again.actor)
    assert isinstance(again.critic, Critic)
    checkpoint_activations(again.critic.backbone)
    for version in range(2):
        expected, found = kept.update(rows(version), version), again.update(rows(version), version)
        assert found["policy_loss"] == pytest.approx(expected["policy_loss"], rel=1e-5)
    for ours, theirs in zip(again.actor.parameters(), kept.actor.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    values = [trainer.values([row.tokens for row in rows(0)])[0] for trainer in (kept, again)]
    np.testing.assert_allclose(*values, atol=1e-5)


def test_they_are_dropped_in_between() -> None:
    """What autograd keeps for the backward pass, in elements."""
    sizes = []
    for checkpoints in (False, True):
        model = tiny_model(layers=4)
        if checkpoints:
            checkpoint_activations(model)
        kept: list[int] = []

        def keep(tensor: torch.Tensor, kept: list[int] = kept) -> torch.Tensor:
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            response_logprobs(model, packed())
        sizes.append(sum(kept))
    assert sizes[1] < sizes[0] / 2
