"""Updates: what they do, that they are exact, and that they can be repeated after a crash."""

import numpy as np
import pytest
import torch
from learner_made import VOCABULARY, make_trajectory, tiny_model

from hiper.errors import RunStateError
from services.learner.checkpoint import CheckpointStore
from services.learner.model import pad, response_logprobs
from services.learner.packing import micro_batches, minibatches
from services.learner.rows import rows_of
from services.learner.state import RunState


def parameters(trainer) -> list[torch.Tensor]:
    return [p.detach().clone() for m in (trainer.actor, trainer.critic) for p in m.parameters()]


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
    padded = pad([row.tokens for row in batch], torch.device("cpu"))
    with torch.no_grad():
        moved = response_logprobs(after, padded)[0] - response_logprobs(before, padded)[0]
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


def test_critic_warm_up_leaves_the_actor_alone(make_trainer, settings) -> None:
    trainer = make_trainer()
    trainer._settings = settings.model_copy(update={"critic_warmup_iterations": 1})
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


def test_packing_covers_every_row_once_within_the_bound() -> None:
    lengths = list(np.random.default_rng(0).integers(1, 60, 100))
    parts = micro_batches(lengths, np.arange(100), 200)
    assert sorted(np.concatenate(parts).tolist()) == list(range(100))
    assert all(len(part) * max(lengths[i] for i in part) <= 200 for part in parts)
    minis = minibatches(100, 30, (1, 2))
    assert sorted(np.concatenate(minis).tolist()) == list(range(100))
    assert [len(m) for m in minis] == [25] * 4
