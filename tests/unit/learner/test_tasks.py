"""The order of play is a function of the seed and the ids, and nothing else."""

import pytest

from hiper.config import RunConfig, parse_config
from hiper.envs.base import TaskPin
from hiper.errors import DataError
from services.learner.tasks import TaskPlan

TRAIN = [TaskPin(f"train/{n}", "heat" if n % 2 else "pick", "train") for n in range(10)]
VALID = [TaskPin(f"valid/{n}", "heat" if n % 2 else "pick", "valid_seen") for n in range(8)]


def config(**tree) -> RunConfig:
    learner = {"tasks_per_batch": 4, "samples_per_task": 2, "iterations": 7, **tree.pop("learner", {})}
    return parse_config({"run": "r", "learner": learner, **tree}, source="test", environment={})


def test_batches_walk_through_permutations() -> None:
    plan = TaskPlan.build(config(), TRAIN, VALID)
    played = [task.task_id for batch in range(5) for task in plan.train_batch(batch) if task.sample == 0]
    assert sorted(played[:10]) == sorted(played[10:20]) == [t.task_id for t in TRAIN]
    assert played[:10] != played[10:20]


def test_plan_does_not_depend_on_the_order_of_listing() -> None:
    one, other = TaskPlan.build(config(), TRAIN, VALID), TaskPlan.build(config(), TRAIN[::-1], VALID[::-1])
    assert one.train_batch(3) == other.train_batch(3)
    assert one.eval_batch(5) == other.eval_batch(5)


def test_ids_are_unique_and_fixed_before_generation() -> None:
    plan = TaskPlan.build(config(), TRAIN, VALID)
    tasks = [task for batch in range(5) for task in plan.train_batch(batch)] + plan.eval_batch(0) + plan.eval_batch(5)
    assert len({task.trajectory_id for task in tasks}) == len(tasks)
    assert len({task.seed for task in tasks}) == 5 * 8 + len(plan.panel)
    assert [t.seed for t in plan.eval_batch(0)] == [t.seed for t in plan.eval_batch(5)], "every policy, the same dice"
    assert tasks[0].trajectory_id == "r/train-000000/0/0"
    assert {task.batch_size for task in plan.train_batch(0)} == {8}


def test_panel_is_the_same_for_every_seed_and_disjoint_from_training() -> None:
    small = {"evaluation": {"tasks": 3}}
    one = TaskPlan.build(config(**small), TRAIN, VALID)
    other = TaskPlan.build(config(seed=9, **small), TRAIN, VALID)
    assert one.panel == other.panel
    assert len(one.panel) == 3
    with pytest.raises(DataError, match="both trained and evaluated"):
        TaskPlan.build(config(), TRAIN, TRAIN)


def test_task_types_restrict_both() -> None:
    plan = TaskPlan.build(config(env={"task_types": ["heat"]}), TRAIN, VALID)
    assert len(plan.train) == 5
    assert len(plan.panel) == 4
    with pytest.raises(DataError, match="no task of the types"):
        TaskPlan.build(config(env={"task_types": ["no-such-type"]}), TRAIN, VALID)


def test_staleness_bounds_how_old_the_weights_may_be() -> None:
    assert {t.min_policy_version for t in TaskPlan.build(config(), TRAIN, VALID).train_batch(4)} == {4}
    ahead = TaskPlan.build(config(learner={"max_staleness": 2}), TRAIN, VALID)
    assert {t.min_policy_version for t in ahead.train_batch(4)} == {2}
    assert {t.min_policy_version for t in ahead.train_batch(1)} == {0}


def test_evaluations_fall_due_at_both_ends_and_between() -> None:
    plan = TaskPlan.build(config(evaluation={"every": 3}), TRAIN, VALID)
    assert [v for v in range(8) if plan.evaluation_due(v)] == [0, 3, 6, 7]
