"""The restricted profile of the Pod Security Standards, as far as a manifest can break it.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from typing import Any

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_SECCOMP = {"RuntimeDefault", "Localhost"}


def violations(spec: dict[str, Any]) -> list[str]:
    """Return every rule the pod breaks; empty if an enforcing namespace takes it."""
    pod = spec.get("securityContext") or {}
    found = [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    for volume in spec.get("volumes", []):
        found += [f"volume {volume['name']} is a {kind}" for kind in set(volume) - {"name"} - _VOLUMES]
    if pod.get("runAsUser") == 0:
        found.append("the pod runs as root")
    if pod.get("sysctls"):
        found.append("the pod sets sysctls")
    kinds = ("containers", "initContainers", "ephemeralContainers")
    for container in [container for kind in kinds for container in spec.get(kind, [])]:
        found += [f"{container['name']}: {rule}" for rule in _of_container(container, pod)]
    return found


def _of_container(container: dict[str, Any], pod: dict[str, Any]) -> list[str]:
    own = container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    effective = {**pod, **own}
    rules = {
        "privileged": bool(own.get("privileged")),
        "may gain privileges": own.get("allowPrivilegeEscalation") is not False,
        "may run as root": effective.get("runAsNonRoot") is not True or effective.get("runAsUser") == 0,
        "no seccomp profile": (effective.get("seccompProfile") or {}).get("type") not in _SECCOMP,
        "keeps capabilities": "ALL" not in capabilities.get("drop", []),
        "adds capabilities": bool(set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}),
        "another proc mount": own.get("procMount", "Default") != "Default",
        "a host port": any(port.get("hostPort") for port in container.get("ports", [])),
    }
    return [rule for rule, broken in rules.items() if broken]
