"""The dry run: sizes against published ones, and that settings move the estimates the way they move the run."""

import json
from pathlib import Path
from typing import Any

import pytest

from hiper.config import RunConfig, parse_config
from hiper.dry_run import Fleet, GpuPlan, plan_run, workload
from hiper.errors import DataError
from hiper.gpus import GPUS, find_gpu
from hiper.model_shapes import model_shape


def config(**learner: Any) -> RunConfig:
    tree = {"model": {"path": "Qwen/Qwen2.5-7B-Instruct"}, "learner": learner}
    return parse_config(tree, source="test", environment={})


def on_h100(settings: RunConfig, fleet: Fleet | None = None) -> GpuPlan:
    return next(plan for plan in plan_run(settings, fleet or Fleet()) if plan.gpu == "H100")


@pytest.mark.parametrize(
    ("name", "billions"), [("0.5B", 0.494), ("1.5B", 1.544), ("3B", 3.086), ("7B", 7.616), ("14B", 14.77)]
)
def test_parameters_are_those_published(name: str, billions: float) -> None:
    assert model_shape(f"Qwen/Qwen2.5-{name}-Instruct").parameters == pytest.approx(billions * 1e9, rel=0.002)


def test_a_folder_says_its_own_sizes(tmp_path: Path) -> None:
    tree = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 192}
    (tmp_path / "config.json").write_text(json.dumps({**tree, "vocab_size": 500, "tie_word_embeddings": True}))
    shape = model_shape(str(tmp_path))
    assert shape.parameters == 2 * (4 * 64 * 64 + 3 * 64 * 192) + 500 * 64
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="not the config of a language model"):
        model_shape(str(tmp_path))
    with pytest.raises(DataError, match="the sizes of 'someone/else' are not known"):
        model_shape("someone/else")


def test_one_gpu_holds_sixteen_bytes_a_trained_parameter_and_two_a_frozen_one() -> None:
    plan = on_h100(config(gradient_checkpointing=True, micro_tokens=1))
    actor, critic, rest = 18 * 7.616, 16 * (7.616 - 0.545), 2.5
    assert plan.learner_gib == pytest.approx((actor + critic) * 1e9 / 2**30 + rest, rel=0.02)
    assert not plan.fits


@pytest.mark.parametrize(
    "change",
    [
        {"lora": {"rank": 16}},
        {"gradient_checkpointing": True},
        {"micro_tokens": 4096},
        {"backend": {"name": "deepspeed", "stage": 3}},
        {"backend": {"name": "deepspeed", "stage": 1, "offload": "optimiser"}},
        {"kl_coef": 0.0},
    ],
)
def test_what_saves_memory_saves_it_here(change: dict[str, Any]) -> None:
    fleet = Fleet(learners=4)
    assert on_h100(config(**change), fleet).learner_gib < on_h100(config(), fleet).learner_gib


def test_stages_share_out_more_and_more() -> None:
    plans = [
        on_h100(config(backend={"name": "deepspeed", "stage": stage}), Fleet(learners=8)).learner_gib
        for stage in (1, 2, 3)
    ]
    assert plans == sorted(plans, reverse=True)
    assert len(set(plans)) == 3


def test_time_falls_with_gpus_and_overlaps_off_policy() -> None:
    few, many = on_h100(config(), Fleet(1, 1)), on_h100(config(), Fleet(4, 4))
    assert many.learner_s == pytest.approx(few.learner_s / 4)
    assert many.rollout_s < few.rollout_s
    on_policy, ahead = on_h100(config()), on_h100(config(max_staleness=1))
    assert on_policy.run_h == pytest.approx(150 * (on_policy.learner_s + on_policy.rollout_s) / 3600)
    assert ahead.run_h == pytest.approx(150 * max(ahead.learner_s, ahead.rollout_s) / 3600)


def test_a_batch_takes_what_the_reference_measured() -> None:
    """6,400 turns of 845 tokens at 7B: some twelve GPU-minutes at 6 N per token, twice that with a critic as large."""
    settings = config(kl_coef=0.0, off_policy={"proximal": "behaviour"})
    assert workload(settings).turns == 6400
    assert 20 * 60 < on_h100(settings).learner_s < 28 * 60


def test_gpus_are_known_by_their_drivers_names() -> None:
    names = {
        "NVIDIA H100 80GB HBM3": "H100",
        "NVIDIA A100-SXM4-40GB": "A100-40GB",
        "NVIDIA A100-SXM4-80GB": "A100-80GB",
        "NVIDIA L40S": "L40S",
        "NVIDIA L4": "L4",
    }
    for said, expected in names.items():
        gpu = find_gpu(said)
        assert gpu is not None
        assert gpu.name == expected
    assert find_gpu("Quadro P400") is None
    assert len({gpu.name for gpu in GPUS}) == len(GPUS)
