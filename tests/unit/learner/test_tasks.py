"""The order of play is a function of the panels and the seed, and nothing else."""

from panels_made import made_panel, made_panels

from hiper.config import RunConfig, parse_config
from hiper.envs.panels import Panel
from services.learner.panels import RunPanels
from services.learner.tasks import TaskPlan


def config(**tree) -> RunConfig:
    learner = {"tasks_per_batch": 4, "samples_per_task": 2, "iterations": 7, **tree.pop("learner", {})}
    return parse_config({"run": "r", "learner": learner, **tree}, source="test", environment={})


def plan(panels: RunPanels | None = None, **tree) -> TaskPlan:
    return TaskPlan(config(**tree), panels or made_panels())


def played(of: TaskPlan, batches: int) -> list[str]:
    return [task.task_id for batch in range(batches) for task in of.train_batch(batch) if task.sample == 0]


def test_batches_walk_through_permutations() -> None:
    order = played(plan(), 5)
    assert sorted(order[:10]) == sorted(order[10:20]) == [f"train/{n}" for n in range(10)]
    assert order[:10] != order[10:20]


def test_the_order_depends_on_panel_epoch_and_seed() -> None:
    order = played(plan(), 5)
    assert played(plan(), 5) == order
    assert played(plan(seed=1), 5) != order
    panels = made_panels()
    seeded = Panel.model_validate({**panels.train.document(), "max_steps": 7})
    other = RunPanels(seeded, panels.evaluation, "valid")
    assert played(plan(other), 5) != order, "another panel, though its tasks have the same ids"


def test_members_of_a_group_get_the_same_task() -> None:
    groups: dict[int, set[tuple[str, int]]] = {}
    for task in plan().train_batch(2):
        groups.setdefault(task.group, set()).add((task.task_id, task.env_seed))
    assert [len(tasks) for tasks in groups.values()] == [1, 1, 1, 1]


def test_ids_are_unique_and_fixed_before_generation() -> None:
    made = plan()
    tasks = [task for batch in range(5) for task in made.train_batch(batch)] + made.eval_batch(0) + made.eval_batch(5)
    assert len({task.trajectory_id for task in tasks}) == len(tasks)
    assert len({task.seed for task in tasks}) == 5 * 8 + 8
    assert [t.seed for t in made.eval_batch(0)] == [t.seed for t in made.eval_batch(5)], "every policy, the same dice"
    assert tasks[0].trajectory_id == "r/train-000000/0/0"
    assert {task.batch_size for task in made.train_batch(0)} == {8}


def test_the_environment_is_seeded_by_the_panel() -> None:
    document = made_panel("valid", 3).document()
    document["tasks"] = [{**task, "seed": 40 + i} for i, task in enumerate(document["tasks"])]
    seeded = Panel.model_validate(document)
    made = plan(RunPanels(made_panel("train", 4), seeded, "valid"), seed=3)
    assert [(task.task_id, task.env_seed) for task in made.eval_batch(0)] == [
        ("valid/0", 40), ("valid/1", 41), ("valid/2", 42),
    ]  # fmt: skip
    assert {task.env_seed for task in made.train_batch(0)} == {0}


def test_staleness_bounds_how_old_the_weights_may_be() -> None:
    assert {t.min_policy_version for t in plan().train_batch(4)} == {4}
    ahead = plan(learner={"max_staleness": 2})
    assert {t.min_policy_version for t in ahead.train_batch(4)} == {2}
    assert {t.min_policy_version for t in ahead.train_batch(1)} == {0}


def test_evaluations_fall_due_at_both_ends_and_between() -> None:
    made = plan(evaluation={"every": 3})
    assert [v for v in range(8) if made.evaluation_due(v)] == [0, 3, 6, 7]
