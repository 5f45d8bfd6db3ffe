"""Updates: what they do, that they are exact, and that they can be repeated after a crash."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from learner_made import VOCABULARY, make_trajectory, tiny_model
from transformers import AutoModelForCausalLM

from hiper.errors import RunStateError
from services.learner.checkpoint import CheckpointStore
from services.learner.hf_folder import save_model
from services.learner.model import Critic, response_logprobs
from services.learner.packing import pack
from services.learner.rows import rows_of
from services.learner.state import RunState
from services.learner.trainer import Models, Trainer


def parameters(trainer) -> list[torch.Tensor]:
    return [p.detach().clone() for part in trainer.trained.values() for p in part.model.parameters()]


def same(left, right) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def rows(version: int):
    return rows_of((make_trajectory(10 * version + seed) for seed in range(4)), VOCABULARY)


def test_update_improves_what_it_was_told_to(make_trainer) -> None:
    trainer, batch = make_trainer(), rows(0)
    first = trainer.update(batch, 0)
    for version in range(1, 12):
        last = trainer.update(batch, version)
    for head in ("low", "high", "switch"):
        assert last[f"value_loss_{head}"] < first[f"value_loss_{head}"]
    before, after = tiny_model(), trainer.actor
    packed = pack([row.tokens for row in batch], torch.device("cpu"))
    with torch.no_grad():
        moved = response_logprobs(after, packed)[0] - response_logprobs(before, packed)[0]
    advantages = torch.from_numpy(np.concatenate([row.advantages for row in batch]))
    assert float((moved * advantages).sum()) > 0, "probability moved towards positive advantages"


def test_first_update_starts_from_ratio_one_and_zero_kl(make_trainer, settings) -> None:
    trainer = make_trainer()
    metrics = trainer.update(rows(0), 0)
    assert metrics["rows"] == 16
    assert metrics["kl_reference"] < 1.0
    assert 0 < metrics["entropy"] <= np.log(40)


def test_micro_batches_do_not_change_the_values(make_trainer) -> None:
    trainer, batch = make_trainer(), rows(1)
    tokens = [row.tokens for row in batch]
    together, version = trainer.values(tokens)
    alone = np.concatenate([trainer.values([row])[0] for row in tokens])
    assert version == 0
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_values_are_read_at_their_positions(make_trainer) -> None:
    trainer = make_trainer()
    torch.nn.init.normal_(trainer.critic.head.weight)
    (row, *_) = rows(0)
    ids = torch.from_numpy(np.concatenate([row.tokens.prompt, row.tokens.response]).astype(np.int64))[None]
    with torch.no_grad():
        outputs = trainer.critic.head(trainer.critic.backbone(input_ids=ids).last_hidden_state[0])
    end = len(row.tokens.prompt) - 1
    expected = [outputs[end + row.tokens.value_low_position, 0], outputs[end, 1], outputs[end, 2]]
    np.testing.assert_allclose(trainer.values([row.tokens])[0][0], [x.item() for x in expected], atol=1e-5)


def test_critic_warm_up_leaves_the_actor_alone(make_trainer) -> None:
    trainer = make_trainer(critic_warmup_iterations=1)
    before = parameters(trainer)
    trainer.update(rows(0), 0)
    assert same(before[: len(list(trainer.actor.parameters()))], list(trainer.actor.parameters()))
    assert not same(before, parameters(trainer))


def test_gradient_that_is_not_finite_changes_nothing(make_trainer) -> None:
    trainer, batch = make_trainer(), rows(0)
    for row in batch:
        row.targets[:] = np.float32(3e38)
        row.advantages[:] = np.inf
    before = parameters(trainer)
    trainer.update(batch, 0)
    assert same(before, parameters(trainer))


def test_restart_from_a_checkpoint_equals_the_uninterrupted_run(make_trainer, tmp_path) -> None:
    """`kill -9` at any point between two checkpoints repeats the update bit for bit."""
    straight = make_trainer()
    for version in range(4):
        straight.update(rows(version), version)

    store, first, state = CheckpointStore(tmp_path, keep=2), make_trainer(), RunState()
    for version in range(2):
        first.update(rows(version), version)
        state.version = version + 1
        store.save(first, state, generation=1)
    first.update(rows(2), 2)  # lost: the process dies before its checkpoint

    second = make_trainer()
    restored = CheckpointStore(tmp_path, keep=2).load(second)
    assert restored is not None
    assert restored.version == 2
    for version in range(restored.version, 4):
        second.update(rows(version), version)
    assert same(parameters(straight), parameters(second))


def without_targets(version: int):
    """What a critic-free estimator leaves: no values, no targets."""
    made = [make_trajectory(10 * version + seed) for seed in range(4)]
    for turn in (turn for trajectory in made for turn in trajectory.turns):
        turn.ClearField("values")
        turn.ClearField("returns")
    return rows_of(made, VOCABULARY)


def test_without_a_critic_the_actor_learns_the_same(make_trainer) -> None:
    alone, both = make_trainer(with_critic=False), make_trainer()
    batch = without_targets(0)
    metrics = alone.update(batch, 0)
    both.update(batch, 0)
    assert same(list(alone.actor.parameters()), list(both.actor.parameters()))
    assert not same(list(alone.actor.parameters()), list(tiny_model().parameters()))
    assert not [name for name in metrics if "critic" in name or "value" in name]
    assert alone.trained.keys() == {"actor"}, "neither weights nor moments of a critic take memory"
    assert alone.vocabulary == VOCABULARY
    with pytest.raises(RunStateError, match="keeps no critic"):
        alone.values([batch[0].tokens])


def test_a_checkpoint_without_a_critic_resumes_a_run_without_and_no_other(make_trainer, tmp_path) -> None:
    store, trainer = CheckpointStore(tmp_path, keep=2), make_trainer(with_critic=False)
    trainer.update(without_targets(0), 0)
    store.save(trainer, RunState(version=1), generation=1)
    assert not list(tmp_path.rglob("*critic*"))
    resumed = make_trainer(with_critic=False)
    assert store.load(resumed) is not None
    for run in (trainer, resumed):
        run.update(without_targets(1), 1)
    assert same(parameters(trainer), parameters(resumed))
    with pytest.raises(RunStateError, match=r"holds no critic: it was written under another hae\.estimator"):
        store.load(make_trainer())


def test_newest_generation_wins_and_old_ones_are_pruned(make_trainer, tmp_path) -> None:
    trainer, store = make_trainer(), CheckpointStore(tmp_path, keep=2)
    store.save(trainer, RunState(version=5, serial=8), generation=1)
    store.save(trainer, RunState(version=3, serial=1), generation=2)
    restored = store.load(make_trainer())
    assert restored is not None
    assert restored.version == 3
    for _ in range(3):
        store.save(trainer, restored, generation=2)
    assert len(list(tmp_path.glob("g*/v*"))) == 2


def test_truncated_checkpoint_is_skipped_then_refused_in_one_line(make_trainer, tmp_path) -> None:
    trainer, store = make_trainer(), CheckpointStore(tmp_path, keep=3)
    state = RunState()
    for version in (1, 2):
        state.version = version
        store.save(trainer, state, generation=1)
    newest, oldest = sorted(tmp_path.glob("g*/v*"), reverse=True)
    (newest / "actor.safetensors").write_bytes(b"torn")
    restored = store.load(make_trainer())
    assert restored is not None
    assert restored.version == 1
    (oldest / "state.json").write_bytes(b"{")
    with pytest.raises(RunStateError, match="no usable checkpoint") as caught:
        store.load(make_trainer())
    assert "\n" not in str(caught.value)


def one_step(settings, make_trainer, **changes):
    """A trainer that takes a single optimiser step per model and update."""
    whole = {"epochs": 1, "minibatch_rows": 1000}
    actor, critic = settings.actor.model_copy(update=whole), settings.critic.model_copy(update=whole)
    return make_trainer(**{"actor": actor, "critic": critic, **changes})


def test_losses_are_means_over_the_whole_mini_batch(make_trainer, settings) -> None:
    """At the first step the ratio is 1 and the critic's head 0, so both losses are known in closed form."""
    batch = rows(0)
    batch[0].targets[1] = np.nan
    metrics = one_step(settings, make_trainer).update(batch, 0)
    advantages = np.concatenate([row.advantages[row.mask] for row in batch])
    assert metrics["policy_loss"] == pytest.approx(-advantages.mean(), rel=1e-4)
    targets = np.stack([row.targets for row in batch]).astype(np.float64)
    for head, expected in zip(("low", "high", "switch"), np.nanmean(targets**2, axis=0), strict=True):
        assert metrics[f"value_loss_{head}"] == pytest.approx(expected, rel=1e-4)
    assert metrics["ratio"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["kl_reference"] == pytest.approx(0.0, abs=1e-5)


def test_gradients_do_not_depend_on_how_rows_are_packed(make_trainer, settings) -> None:
    norms = []
    for micro_tokens in (25, 70, 10_000):
        metrics = one_step(settings, make_trainer, micro_tokens=micro_tokens).update(rows(0), 0)
        norms.append([metrics["actor_grad_norm"], metrics["critic_grad_norm"], metrics["policy_loss"]])
    np.testing.assert_allclose(norms, np.broadcast_to(norms[0], (3, 3)), rtol=1e-4)


def test_kl_term_pulls_back_to_the_reference(make_trainer, settings) -> None:
    batch = rows(0)
    for row in batch:
        row.advantages[:] = 0
    trainer = one_step(settings, make_trainer, kl_coef=1.0, entropy_coef=0.0)
    trainer.actor.load_state_dict(tiny_model(seed=5).state_dict())
    distances = [trainer.update(batch, version)["kl_reference"] for version in range(15)]
    assert distances[-1] < 0.8 * distances[0]


def test_value_clip_is_reported(make_trainer) -> None:
    trainer = make_trainer(value_clip=0.01)
    assert trainer.update(rows(0), 0)["value_clip_fraction"] > 0.5


def test_mismatch_with_the_engine_is_measured(make_trainer) -> None:
    trainer, batch = make_trainer(), rows(0)
    with torch.no_grad():
        exact = response_logprobs(trainer.actor, pack([row.tokens for row in batch], torch.device("cpu")))[0].numpy()
    agreeing = [replace(row, behaviour_logprobs=own) for row, own in zip(batch, np.split(exact, 16), strict=True)]
    metrics = make_trainer().update(agreeing, 0)
    assert metrics["logprob_abs_diff"] < 1e-5
    assert abs(metrics["logprob_mismatch_kl"]) < 1e-6
    off = [replace(row, behaviour_logprobs=row.behaviour_logprobs - 0.1) for row in agreeing]
    metrics = make_trainer().update(off, 0)
    assert metrics["logprob_abs_diff"] == pytest.approx(0.1, rel=1e-3)
    assert metrics["logprob_mismatch_k1"] == pytest.approx(-0.1, rel=1e-3)
    assert metrics["logprob_mismatch_kl"] == pytest.approx(np.exp(0.1) - 1.1, rel=1e-3)


def test_small_steps_survive_bfloat16_layers(make_trainer, settings) -> None:
    """At a rate of 1e-6 a bfloat16 weight would never change: its neighbours are 0.4 % away."""
    slow = settings.actor.model_copy(update={"lr": 1e-6})
    trainer = Trainer(
        Models(tiny_model(), Critic.from_causal_lm(tiny_model()), None),
        settings.model_copy(update={"dtype": "bfloat16", "actor": slow, "critic": slow}),
        seed=3,
    )
    before = parameters(trainer)
    metrics = trainer.update(rows(0), 0)
    moved = [not torch.equal(a, b) for a, b in zip(before, parameters(trainer), strict=True)]
    assert sum(moved) > 0.9 * len(moved)
    assert all(parameter.dtype is torch.float32 for parameter in trainer.actor.parameters())
    assert metrics["ratio"] == pytest.approx(1.0, abs=1e-2)


def test_readers_of_the_critic_see_whole_versions_during_updates(make_trainer) -> None:
    tokens = [row.tokens for row in rows(0)]
    expected, trainer = {}, make_trainer()
    expected[0] = trainer.values(tokens)[0]
    for version in range(6):
        trainer.update(rows(version), version)
        expected[version + 1] = trainer.values(tokens)[0]

    trainer, seen = make_trainer(), []
    updating = threading.Thread(target=lambda: [trainer.update(rows(version), version) for version in range(6)])
    updating.start()
    while updating.is_alive():
        seen.append(trainer.values(tokens))
    updating.join()
    assert seen
    for values, version in seen:
        np.testing.assert_array_equal(values, expected[version])


def test_interrupted_update_ends_and_its_critic_is_not_read(make_trainer) -> None:
    trainer = make_trainer()
    trainer.interrupt()
    assert trainer.update(rows(0), 0) is None
    with pytest.raises(RunStateError, match="stopping"):
        trainer.values([rows(0)[0].tokens])


def test_published_weights_have_the_engines_type_and_tie(tmp_path) -> None:
    model = tiny_model()
    save_model(model, tmp_path, torch.bfloat16)
    published = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert published.dtype is torch.bfloat16
    assert published.get_output_embeddings().weight is published.get_input_embeddings().weight
    for name, tensor in model.state_dict().items():
        assert torch.equal(published.state_dict()[name], tensor.to(torch.bfloat16))
    assert model.dtype is torch.float32, "the learner's own weights stay as they are"


@pytest.mark.parametrize("layers", [1, 3])
def test_checkpoint_of_another_architecture_is_refused(make_trainer, tmp_path, layers: int) -> None:
    CheckpointStore(tmp_path, keep=2).save(make_trainer(), RunState(), generation=1)
    other = make_trainer(model=tiny_model(layers=layers))
    with pytest.raises(RunStateError, match="does not fit the configured model"):
        CheckpointStore(tmp_path, keep=2).load(other)
