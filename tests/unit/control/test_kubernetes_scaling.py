"""Scaling through the real Kubernetes client, against an API server that speaks the few paths it uses."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from hiper.errors import RemoteError
from hiper.service.http import HttpServer
from services.control.kubernetes_scaling import KubernetesScaler

client = pytest.importorskip("kubernetes.client", reason="the kubernetes package is not installed (extra kubernetes)")
LABELS = "app.kubernetes.io/"


class ApiServer:
    """Workloads of one namespace, in memory."""

    def __init__(self) -> None:
        self.replicas = {"rollout": 2, "control": 1, "env-alfworld": 1}
        self.refused = False
        self.selectors: set[str] = set()

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def refuse(request: Request, go_on: Any) -> Any:
            self.selectors.add(request.query_params.get("labelSelector", ""))
            return JSONResponse({"message": "no"}, 403) if self.refused else await go_on(request)

        @app.get("/apis/apps/v1/namespaces/ns/deployments")
        def deployments(labelSelector: str) -> dict[str, Any]:  # noqa: N803 - the server's word
            chosen = {word.partition("=")[0]: word.partition("=")[2] for word in labelSelector.split(",")}
            component = chosen.get(f"{LABELS}component")
            names = [name for name in self.replicas if component in (None, name)]
            return {"items": [self.workload(name, self.replicas[name]) for name in names]}

        @app.get("/apis/apps/v1/namespaces/ns/statefulsets")
        def sets() -> dict[str, Any]:
            return {"items": [self.workload("learner", 1)]}

        @app.get("/api/v1/namespaces/ns/pods")
        def pods() -> dict[str, Any]:
            waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}
            return {
                "items": [
                    self.pod("hiper-rollout-a", {"running": {}}, ready=True),
                    self.pod("hiper-rollout-b", waiting, ready=False),
                ]
            }

        @app.patch("/apis/apps/v1/namespaces/ns/deployments/{name}/scale")
        async def scale(name: str, request: Request) -> dict[str, Any]:
            service = name.removeprefix("hiper-")
            self.replicas[service] = (await request.json())["spec"]["replicas"]
            return {"metadata": {"name": name}, "spec": {"replicas": self.replicas[service]}}

        return app

    def workload(self, name: str, replicas: int) -> dict[str, Any]:
        labels = {f"{LABELS}component": name, f"{LABELS}instance": "release"}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {}, "serviceName": name}
        return {
            "metadata": {"name": f"hiper-{name}", "labels": labels},
            "spec": spec,
            "status": {"replicas": replicas, "readyReplicas": 1},
        }

    def pod(self, name: str, state: dict[str, Any], *, ready: bool) -> dict[str, Any]:
        container = {"name": "c", "image": "i", "imageID": "i", "ready": ready, "restartCount": 3, "state": state}
        status = {"phase": "Running", "containerStatuses": [container]}
        return {"metadata": {"name": name, "labels": {f"{LABELS}component": "rollout"}}, "status": status}


@contextmanager
def scaler_of(server: ApiServer) -> Iterator[KubernetesScaler]:
    with HttpServer(server.app(), "127.0.0.1:0") as http:
        yield scaler_at(http.port)


def scaler_at(port: int) -> KubernetesScaler:
    configuration = client.Configuration(host=f"http://127.0.0.1:{port}")
    configuration.retries = False
    return KubernetesScaler(client.ApiClient(configuration), "ns", "release")


async def test_workloads_of_the_release_are_seen_with_their_pods() -> None:
    server = ApiServer()
    with scaler_of(server) as scaler:
        services = {one.service: one for one in await scaler.services()}
    assert server.selectors == {"app.kubernetes.io/instance=release"}
    assert {name: one.scalable for name, one in services.items()} == {
        "rollout": True,
        "env-alfworld": True,
        "control": False,
        "learner": False,
    }
    rollout = services["rollout"]
    assert (rollout.wanted, rollout.ready) == (2, 1)
    assert [(pod.state, pod.detail, pod.restarts) for pod in rollout.processes] == [
        ("ready", "", 3),
        ("running", "CrashLoopBackOff: back-off 40s", 3),
    ]


async def test_one_deployment_is_scaled_and_no_other() -> None:
    server = ApiServer()
    with scaler_of(server) as scaler:
        await scaler.scale("rollout", 5)
    assert server.replicas == {"rollout": 5, "control": 1, "env-alfworld": 1}


async def test_a_refusal_names_what_was_asked_and_what_to_do() -> None:
    server = ApiServer()
    server.refused = True
    with scaler_of(server) as scaler, pytest.raises(RemoteError, match="Kubernetes refused rollout: 403") as caught:
        await scaler.scale("rollout", 5)
    assert "rbac.create" in caught.value.hint


async def test_a_server_that_is_away_is_an_error_and_no_hang() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(RemoteError, match="Kubernetes did not answer about rollout"):
            await scaler_at(taken.getsockname()[1]).scale("rollout", 5)
