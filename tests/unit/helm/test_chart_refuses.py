"""Wrong values fail the install, with words a person can act on."""

from typing import Any

import pytest
from chart_render import EVERY, merged, refusal, render, values_at

CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "two brokers": (values_at("externalBroker.host", "b.example.com"), "a run has one broker"),
    "no broker": (values_at("broker.enabled", False), "there is no broker"),
    "an external broker without passwords": (
        {"broker": {"enabled": False}, "externalBroker": {"host": "b.example.com"}},
        "needs externalBroker.existingSecret",
    ),
    "an authority without TLS": (
        merged(EVERY["external-broker-tls"], values_at("externalBroker.tls.enabled", False)),
        "but TLS is off",
    ),
    "TLS without certificates": (values_at("tls.enabled", True), "tls.enabled needs certificates"),
    "cert-manager without an issuer": (
        {"tls": {"enabled": True, "certManager": {"enabled": True}}},
        "needs tls.certManager.issuerRef",
    ),
    "no persistence by accident": (values_at("broker.persistence.enabled", False), "say broker.allowDataLoss=true"),
    "a broker limit in words of its own": (
        values_at("broker.resources.limits.memory", "2000000000"),
        "write whole Gi or Mi, or set broker.maxmemory",
    ),
    "files nobody else can read": (values_at("storage.run.accessModes", ["ReadWriteOnce"]), "lacks ReadWriteMany"),
    "an environment nobody hosts": (values_at("config.env.name", "webshop"), "the run plays `webshop`"),
    "an environment two families host": (values_at("env.kitchen", {"name": "alfworld"}), "exactly one must"),
    "the played family switched off": (values_at("env.alfworld.enabled", False), "0 enabled families"),
    "pods by number and by load": (
        values_at("rollout", {"replicaCount": 3, "autoscaling": {"enabled": True}}),
        "rollout has a replicaCount and autoscaling",
    ),
    "an env family by number and by load": (
        values_at("env.alfworld", {"replicaCount": 3, "autoscaling": {"enabled": True}}),
        "env-alfworld has a replicaCount and autoscaling",
    ),
    "more pods at least than at most": (
        values_at("reward.autoscaling", {"enabled": True, "minReplicas": 9}),
        "reward.autoscaling.minReplicas is above maxReplicas",
    ),
    "KEDA without a Prometheus": (
        values_at("hae.autoscaling", {"enabled": True, "type": "keda"}),
        "needs keda.prometheusAddress",
    ),
    "zero pods without KEDA": (
        values_at("rollout.autoscaling", {"enabled": True, "minReplicas": 0}),
        "which only KEDA reaches",
    ),
    "no HAE to measure the streams": (
        merged(EVERY["keda"], values_at("hae.autoscaling.minReplicas", 0)),
        "hae.autoscaling.minReplicas must be at least 1",
    ),
    "no env servers to play on": (
        merged(EVERY["keda"], values_at("env.alfworld.autoscaling.minReplicas", 0)),
        "env-alfworld.autoscaling.minReplicas must be at least 1",
    ),
    "two learners": (values_at("learner.replicaCount", 2), "a run has one learner"),
    "two brokers in one": (values_at("broker.replicaCount", 2), "a run has one broker"),
    "a learner that scales": (values_at("learner.autoscaling.enabled", True), "a run has one learner"),
    "GPUs an engine does not span": (values_at("rollout.gpu.count", 2), "its engine spans 1"),
    "GPUs a learner does not use": (values_at("learner.gpu.count", 8), "set config.learner.backend={name: deepspeed}"),
    "nodes a learner does not use": (values_at("learner.nodes", 2), "the learner has 2 GPUs"),
    "nodes that cannot read the checkpoint": (
        merged(EVERY["multinode"], values_at("storage.run.accessModes", ["ReadWriteOnce"])),
        "every node reads the checkpoint",
    ),
    "an engine over GPUs that are not there": (
        values_at("config.rollout.tensor_parallel", 4),
        "rollout pods have no GPU: set rollout.gpu.count=4",
    ),
    "a kill while episodes drain": (
        values_at("config.rollout.drain_timeout_s", 600),
        "give at least 20 s more, or pods are killed while they drain",
    ),
    "an unknown recipe": (values_at("recipe", "demoo"), "there is no recipe `demoo`"),
    "the newest image there is": (values_at("image.tag", "latest"), "name a version"),
    "the newest image of one component": (values_at("rollout.image.tag", "latest"), "of image hiper-rollout"),
    "a password in the run file": (
        values_at("config.broker.url", "redis://:secret@broker:6379"),
        "a password belongs into a Secret",
    ),
    "addresses in the run file": (values_at("config.env.addresses", ["env:50051"]), "the chart knows its env servers"),
    "the critic in the run file": (values_at("config.hae.critic_address", "a:1"), "the chart knows its learner"),
    "the critic's port in the run file": (values_at("config.learner.critic_port", 5), "the chart knows its learner"),
    "addresses of weights in the run file": (
        values_at("config.weights.advertise", "http://here:1"),
        "the chart knows its pods",
    ),
    "the collector in the run file": (
        values_at("config.tracing.endpoint", "http://collector:4317"),
        "config.tracing.endpoint is not set there; set tracing.endpoint",
    ),
    "credentials of a collector that is not named": (
        values_at("tracing.headers.existingSecret", "otel"),
        "but no collector: set tracing.endpoint",
    ),
    "attributes of spans nobody takes": (values_at("tracing.resourceAttributes", {"a": "b"}), "but no collector"),
    "the authority of a collector without TLS": (
        {"tracing": {"endpoint": "http://collector:4317", "caSecret": "ca"}},
        "tracing.endpoint is not https",
    ),
    "a warm start nobody else can read": (
        merged(EVERY["http-weights"], values_at("recipe", "demo")),
        "(and no warm start)",
    ),
    "processes in the run file": (values_at("config.supervisor.scale", {"rollout": 2}), "set the component's replica"),
    "the broker's memory in the run file": (values_at("config.broker.maxmemory_mb", 9), "set broker.maxmemory"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_is_one_sentence(case: str) -> None:
    values, sentence = CONTRADICTIONS[case]
    said = refusal(values)
    assert "hiper: " in said
    assert sentence in said


WRONG = {
    # a word that does not exist, at every level
    "rollouts": ({}, "rollouts"),
    "rollout.replicas": (3, "replicas"),
    "rollout.gpu.number": (1, "number"),
    "rollout.autoscaling.min": (1, "min"),
    "env.alfworld.dataset": ("x", "dataset"),
    "broker.persistence.storage": ("1Gi", "storage"),
    "externalBroker.url": ("redis://h", "url"),
    "metrics.serviceMonitor.labels": ({}, "labels"),
    "networkPolicy.enable": (True, "enable"),
    "secrets.wandb": ({}, "wandb"),
    "tracing.ratio": (0.1, "ratio"),
    "metrics.prometheusRule.runbook_url": ("https://a", "runbook_url"),
    "podDefaults.replicas": (1, "replicas"),
    "global.registry": ("r", "registry"),
    "rollout.resources.limit": ({"memory": "1Gi"}, "limit"),
    # a value of another kind
    "broker.enabled": ("yes", "/broker/enabled"),
    "rollout.replicaCount": ("three", "/rollout/replicaCount"),
    "reward.replicaCount": (-1, "/reward/replicaCount"),
    "rollout.gpu.count": (0.5, "/rollout/gpu/count"),
    "hae.autoscaling.type": ("vpa", "/hae/autoscaling/type"),
    "broker.appendfsync": ("no", "/broker/appendfsync"),
    "image.pullPolicy": ("Sometimes", "/image/pullPolicy"),
    "rollout.image.digest": ("sha256:abc", "/rollout/image/digest"),
    "storage.run.accessModes": (["ReadOnlyMany"], "/storage/run/accessModes"),
    "storage.run.size": ("large", "/storage/run/size"),
    "externalBroker.port": (70000, "/externalBroker/port"),
    "externalBroker.host": ("redis://host", "/externalBroker/host"),
    "externalBroker.username": ("a user", "/externalBroker/username"),
    "keda.prometheusAddress": ("prometheus:9090", "/keda/prometheusAddress"),
    "tracing.endpoint": ("http://collector", "/tracing/endpoint"),
    "tracing.protocol": ("http/json", "/tracing/protocol"),
    "tracing.resourceAttributes": ({"team": "a,b=c"}, "/tracing/resourceAttributes"),
    "metrics.prometheusRule.runbookUrl": ("docs/operations.md", "/metrics/prometheusRule/runbookUrl"),
    "fullnameOverride": ("My Release", "/fullnameOverride"),
    "metrics.serviceMonitor.interval": (15, "/metrics/serviceMonitor/interval"),
    "rollout.tolerations": ({"key": "gpu"}, "/rollout/tolerations"),
    "rollout.nodeSelector": ({"gpu": True}, "/rollout/nodeSelector"),
    "env.Alfworld": ({}, "Alfworld"),
    "learner.nodes": (0, "/learner/nodes"),
    "rollout.gpu.resourceName": ("gpu", "/rollout/gpu/resourceName"),
    "broker.maxmemory": ("lots", "/broker/maxmemory"),
    # settings of the program
    "config.rollouts": ({}, "rollouts"),
    "config.learner.learning_rate": (1e-6, "learning_rate"),
    "config.learner.actor.lr": (-1, "/config/learner/actor/lr"),
    "config.run": ("My Run", "/config/run"),
    "config.env.max_steps": (0, "/config/env/max_steps"),
    "config.hae.estimator.name": ("magic", "/config/hae/estimator"),
    "config.rollout.sampling.top_p": (2, "/config/rollout/sampling/top_p"),
    "config.reward.keep_penalty": (0.5, "/config/reward/keep_penalty"),
    "config.learner.max_staleness": (-1, "/config/learner/max_staleness"),
    "config.rollout.engine": ("sglang", "/config/rollout/engine"),
    "env.alfworld.settings.sessions": (10, "sessions"),
}


@pytest.mark.parametrize("path", WRONG)
def test_a_wrong_value_is_named(path: str) -> None:
    value, named = WRONG[path]
    said = refusal(values_at(path, value))
    assert "values don't meet the specifications of the schema" in said
    assert named in said


def test_what_is_wrong_is_the_value_and_not_the_place() -> None:
    fine = {"externalBroker.port": 7000, "rollout.replicaCount": 3, "env.kitchen": {"enabled": False}}
    for path, value in fine.items():
        assert render(values_at(path, value)).objects
