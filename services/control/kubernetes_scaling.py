"""Kubernetes as the one that runs the processes: pods of this release are seen, its Deployments scaled.

The release is the one this pod belongs to, by its labels. Rights are those of the chart's Role. Every call is bounded;
one that fails names the object and what the API server said. Where an autoscaler owns a Deployment, it has the last
word.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hiper.errors import DependencyError, RemoteError
from services.control.models import ProcessStatus, ServiceStatus

__all__ = ["KubernetesScaler", "in_cluster"]

T = TypeVar("T")
_TIMEOUT_S = 5.0
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_COMPONENT = "app.kubernetes.io/component"
_INSTANCE = "app.kubernetes.io/instance"
_FIXED = frozenset({"control", "broker", "learner"})
"""Deployments whose size is not for the API."""


def in_cluster() -> bool:
    """Whether this process runs in a pod."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


class KubernetesScaler:
    """The workloads of one release. `client` is the module `kubernetes.client`, or its like."""

    def __init__(self, api_client: Any, namespace: str, release: str) -> None:
        from kubernetes import client

        self._apps: Any = client.AppsV1Api(api_client)
        self._core: Any = client.CoreV1Api(api_client)
        self._namespace = namespace
        self._selector = f"{_INSTANCE}={release}"

    @classmethod
    async def from_pod(cls, pod: str) -> "KubernetesScaler":
        """Find the release pod `pod`, this one, belongs to. Raises `DependencyError` without the client library."""
        try:
            from kubernetes import client, config
        except ImportError as error:
            raise DependencyError(
                "control on Kubernetes needs its client", "pip install 'hiper-rl[kubernetes]'"
            ) from error
        config.load_incluster_config()
        namespace = await asyncio.to_thread(_NAMESPACE_FILE.read_text, encoding="utf-8")
        core: Any = client.CoreV1Api()
        found = await _call(
            f"pod {pod}", lambda: core.read_namespaced_pod(pod, namespace.strip(), _request_timeout=_TIMEOUT_S)
        )
        return cls(core.api_client, namespace.strip(), found.metadata.labels[_INSTANCE])

    async def services(self) -> Sequence[ServiceStatus]:
        """Every Deployment and StatefulSet of the release, with its pods."""
        words: dict[str, Any] = {"label_selector": self._selector, "_request_timeout": _TIMEOUT_S}
        deployments, sets, pods = await asyncio.gather(
            _call("deployments", lambda: self._apps.list_namespaced_deployment(self._namespace, **words)),
            _call("statefulsets", lambda: self._apps.list_namespaced_stateful_set(self._namespace, **words)),
            _call("pods", lambda: self._core.list_namespaced_pod(self._namespace, **words)),
        )
        by_service: dict[str, list[ProcessStatus]] = {}
        for pod in pods.items:
            by_service.setdefault(_component(pod), []).append(_process(pod))
        scalable = {id(one) for one in deployments.items}
        return [
            ServiceStatus(
                service=_component(workload),
                wanted=workload.spec.replicas if workload.spec.replicas is not None else 1,
                ready=workload.status.ready_replicas or 0,
                scalable=id(workload) in scalable and _component(workload) not in _FIXED,
                processes=by_service.get(_component(workload), []),
            )
            for workload in (*deployments.items, *sets.items)
        ]

    async def scale(self, service: str, replicas: int) -> None:
        """Patch the scale of the service's Deployment."""
        words: dict[str, Any] = {
            "label_selector": f"{self._selector},{_COMPONENT}={service}",
            "_request_timeout": _TIMEOUT_S,
        }
        found = await _call(service, lambda: self._apps.list_namespaced_deployment(self._namespace, **words))
        for deployment in found.items:
            await self._patch(deployment.metadata.name, replicas)

    def why_fixed(self) -> str:
        """See `Scaler`."""
        return f"{', '.join(sorted(_FIXED))} are one each; every other Deployment of the release can be scaled"

    async def _patch(self, deployment: str, replicas: int) -> None:
        body = {"spec": {"replicas": replicas}}
        await _call(
            f"deployment {deployment}",
            lambda: self._apps.patch_namespaced_deployment_scale(
                deployment, self._namespace, body, _request_timeout=_TIMEOUT_S
            ),
        )


async def _call(what: str, ask: Callable[[], T]) -> T:
    """Ask the API server on a thread. Raises `RemoteError`."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        return await asyncio.to_thread(ask)
    except ApiException as error:
        hint = "give control the chart's Role (rbac.create)" if error.status == 403 else "see the API server's state"
        raise RemoteError(f"Kubernetes refused {what}: {error.status} {error.reason}", hint) from error
    except HTTPError as error:
        raise RemoteError(f"Kubernetes did not answer about {what} within {_TIMEOUT_S:g} s: {error}") from error


def _component(thing: Any) -> str:
    return str((thing.metadata.labels or {}).get(_COMPONENT, thing.metadata.name))


def _process(pod: Any) -> ProcessStatus:
    containers = pod.status.container_statuses or []
    waiting = [one.state.waiting for one in containers if one.state is not None and one.state.waiting is not None]
    ready = bool(containers) and all(one.ready for one in containers)
    return ProcessStatus(
        name=pod.metadata.name,
        state="ready" if ready else str(pod.status.phase).lower(),
        detail="; ".join(f"{one.reason}: {one.message or ''}".rstrip(": ") for one in waiting),
        restarts=sum(one.restart_count for one in containers),
    )
