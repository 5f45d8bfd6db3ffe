"""The rendered pods start: the same commands, variables and files, as processes of this machine, become ready."""

from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from chart_broker import running_server
from chart_machine import Machine, ready
from chart_render import render
from grpc_health.v1 import health_pb2, health_pb2_grpc


async def test_an_env_server_starts_and_answers_a_probe_that_holds_no_token(tmp_path: Path) -> None:
    machine, pod = Machine(tmp_path), render().pod("env-alfworld")
    with machine.started(pod) as process:
        await ready(machine, pod, process)
        async with grpc.aio.insecure_channel(machine.address(pod.component, 50051)) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert process.poll() is None


@pytest.mark.parametrize("component", ["reward", "hae", "control"])
async def test_a_service_starts_as_its_own_user(
    component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_server(tmp_path, monkeypatch) as broker:
        machine, pod = Machine(tmp_path, broker), render().pod(component)
        async with await broker.connect("learner") as learner:
            await learner.create_run()
        with machine.started(pod) as process:
            await ready(machine, pod, process)
            process.terminate()
            assert process.wait(timeout=pod.spec["terminationGracePeriodSeconds"]) == 0


# A run of a minute: a model that has learned next to nothing, and an engine that needs none.
SHORT = {
    "run": "demo",
    "rollout": {"engine": "random", "concurrent_episodes": 8},
    "learner": {"tasks_per_batch": 4, "iterations": 1},
    "env": {"synthetic_train": 20, "synthetic_valid": 4, "max_steps": 4},
    "evaluation": {"tasks": 2},
    "warmstart": {"episodes": 20, "steps": 5, "cache": False},
}


@pytest.mark.slow
@pytest.mark.e2e
def test_the_chart_trains_and_helm_test_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pod of the default values, the learner's and the rollouts' init containers with them."""
    rendered = render({"config": SHORT, "test": {"timeoutSeconds": 300}})
    trajectory = next(pod for pod in rendered.pods if pod.owner.endswith("test-trajectory"))
    (tmp_path / "test").mkdir()
    script = rendered.find("ConfigMap", "test")["data"]["one_trajectory.py"]
    (tmp_path / "test/one_trajectory.py").write_text(script)
    with ExitStack() as stack:
        machine = Machine(tmp_path, stack.enter_context(running_server(tmp_path, monkeypatch)), rendered)
        for component in ("learner", "rollout"):
            pod = rendered.pod(component)
            (before,) = pod.spec["initContainers"]
            assert machine.finished(pod, before)[0] == 0
        components = ("env-alfworld", "learner", "rollout", "reward", "hae")
        running = [stack.enter_context(machine.started(rendered.pod(component))) for component in components]
        verdict = machine.finished(trajectory, trajectory.main, running)
    assert verdict == (0, "a trajectory went the whole way, and every one is accounted for\n")
