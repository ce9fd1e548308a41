"""The Helm chart, rendered by Helm's own engine and held against the schemas of Kubernetes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from firecrest.config.load import parse_settings

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "firecrest-server"
VERSIONS = ("1.25", "1.30", "1.37")
CONFIG = {
    "server": {"trusted_proxies": ["10.0.0.0/8"], "port": 1, "drain": 99},
    "auth": {"issuers": [{"issuer": "https://issuer.example.org", "discovery": True}]},
    "ssh": {
        "ca_key_path": "/etc/firecrest/keys/ca_key",
        "known_hosts": "/etc/firecrest/keys/known_hosts",
    },
    "systems": [{"name": "a", "address": "192.0.2.1", "scheduler": {"base_fs": "/home"}}],
    "storage": {
        "s3": {
            "public_url": "https://s3.example.org",
            "access_key": {"env": "S3_ACCESS_KEY"},
            "secret_key": {"env": "S3_SECRET_KEY"},
        }
    },
    "redis": {"host": "redis"},
}
EVERYTHING = {
    "config": CONFIG,
    "environmentSecretName": "firecrest-environment",
    "imagePullSecrets": [{"name": "registry"}],
    "ingress": {"enabled": True},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"from": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]},
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
}
NOTHING = {
    "podDisruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": False},
}

Manifest = dict[str, Any]
Render = Callable[..., dict[str, Manifest]]


@pytest.fixture
def render() -> Render:
    """The manifests by kind, as an installation would send them."""

    def render(values: dict[str, Any]) -> dict[str, Manifest]:
        with helm_python.Chart.load(CHART) as chart:
            files = chart.render(values, name="fc", namespace="hpc")
        texts = [text for path, text in files.items() if path.endswith(".yaml")]
        found = [manifest for text in texts for manifest in yaml.safe_load_all(text)]
        return {manifest["kind"]: manifest for manifest in found if manifest}

    return render


def pod(manifests: dict[str, Manifest]) -> Manifest:
    spec: Manifest = manifests["Deployment"]["spec"]["template"]["spec"]
    return spec


def test_helm_has_nothing_to_say() -> None:
    report = helm_python.lint(CHART, strict=True)
    assert report["errors"] == []
    assert [m["error"] for m in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", [{}, EVERYTHING, NOTHING], ids=["default", "all", "little"])
def test_every_manifest_is_what_kubernetes_accepts(
    values: dict[str, Any], version: str, render: Render
) -> None:
    for kind, manifest in render(values).items():
        if kind != "ServiceMonitor":  # a kind of the Prometheus operator
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_mistake_in_a_manifest_would_be_found(render: Render) -> None:
    manifest = render({})["Deployment"]
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


def test_what_is_installed(render: Render) -> None:
    always = {"ServiceAccount", "ConfigMap", "Deployment", "Service"}
    default = always | {"PodDisruptionBudget", "NetworkPolicy"}
    assert render({}).keys() == default
    assert render(NOTHING).keys() == always
    assert render(EVERYTHING).keys() == default | {"Ingress", "ServiceMonitor"}


def test_the_configuration_is_one_the_server_reads(render: Render) -> None:
    text = render({"config": CONFIG})["ConfigMap"]["data"]["config.yaml"]
    environ = {"S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "s"}
    settings = parse_settings(text, Path("/etc/firecrest/config.yaml"), environ)
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 8000)  # noqa: S104
    assert settings.server.drain == 5  # that of the chart, by which pods are given time
    assert settings.server.trusted_proxies == ("10.0.0.0/8",)


def test_every_pod_is_locked(render: Render) -> None:
    spec = pod(render(EVERYTHING))
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["automountServiceAccountToken"] is False
    for container in (*spec["initContainers"], *spec["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


def test_a_restart_has_the_time_it_needs(render: Render) -> None:
    manifests = render({"drain": 7, "shutdownGrace": 30})
    assert pod(manifests)["terminationGracePeriodSeconds"] > 7 + 2 * 30
    rolling = manifests["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert rolling["maxUnavailable"] == 0
    (gateway,) = pod(manifests)["containers"]
    paths = {
        name: gateway[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "liveness", "readiness")
    }
    assert paths == {
        "startup": "/health/live",
        "liveness": "/health/live",
        "readiness": "/health/ready",
    }
    readiness = gateway["readinessProbe"]
    default = pod(render({}))["containers"][0]["args"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] <= 7
    assert default == ["serve", "--config", "/etc/firecrest/config.yaml"]


def test_a_new_configuration_is_a_new_pod(render: Render) -> None:
    def checksum(values: dict[str, Any]) -> str:
        template = render(values)["Deployment"]["spec"]["template"]
        found: str = template["metadata"]["annotations"]["checksum/config"]
        return found

    assert checksum({}) == checksum({})
    assert checksum({}) != checksum({"config": CONFIG})


def test_services_and_monitors_find_the_pods(render: Render) -> None:
    manifests = render(EVERYTHING)
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["Service"]["spec"]["selector"].items() <= labels.items()
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert manifests[kind]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    monitor = manifests["ServiceMonitor"]
    service = manifests["Service"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service.items()
    assert (
        monitor["spec"]["endpoints"][0]["port"] == manifests["Service"]["spec"]["ports"][0]["name"]
    )
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


@pytest.mark.parametrize(
    "values",
    [{"replicas": 0}, {"replica": 3}, {"secretName": ""}, {"networkPolicy": {"egressPorts": [0]}}],
)
def test_wrong_values_are_refused(values: dict[str, Any]) -> None:
    with (
        helm_python.Chart.load(CHART) as chart,
        pytest.raises(helm_python.HelmValuesError),
    ):
        chart.validate_schema(values)
