"""Containers and units: valid by their own rules, and as closed as the documents say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from federation.errors import ExitCode
from federation.identity import PASSWORD_VARIABLE

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
SETUP = {name for name, service in SERVICES.items() if service.get("profiles") == ["setup"]}  # run once
OURS = {
    name: service
    for name, service in SERVICES.items()
    if service["image"].startswith("tallystick-") and name not in SETUP
}
HOSPITALS = [name for name in OURS if name.startswith("hospital-")]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
INSTALLED = Path("/opt/tally/bin/tally")  # where the units expect the program
MOST_EXPOSED = 20  # tenths, of systemd's own measure from 0 to 100: below 20 it says "OK"


def test_compose_is_valid_by_its_own_schema() -> None:
    checked = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*checked, str(DEPLOY / "compose.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_closed(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["user"].split(":")[0] not in {"0", "root"}
    assert not {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc"} & service.keys()
    assert "environment" not in service or "TALLY_PASSWORD" not in service["environment"], "secrets are files"
    assert "healthcheck" in service or name in OURS, "ours stand in the Dockerfile"
    assert re.search(r":[\w.-]*\d[\w.-]*$|^tallystick-", service["image"]), "of one version"


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_published_but_the_aggregator_and_the_swarm(name: str) -> None:
    published = [port.rsplit(":", 2)[1:] for port in SERVICES[name].get("ports", [])]
    expected = {"aggregator": [["8420", "8420"]], "ipfs": [["4001", "4001/tcp"]]}
    assert published == expected.get(name, [])


def test_hospitals_reach_nothing_outside_unless_they_say_so() -> None:
    assert len(HOSPITALS) == 3
    assert [SERVICES[name]["networks"] for name in HOSPITALS] == [["inside"]] * 3
    assert COMPOSE["networks"]["inside"]["internal"] == "${ISOLATED:-true}"


def test_every_party_has_a_folder_and_a_password_of_its_own() -> None:
    for name, service in OURS.items():
        assert service["volumes"] == [f"./parties/{name}:/data"]
        assert service["secrets"] == [{"source": name, "target": "password"}]
    assert COMPOSE["secrets"].keys() == {*OURS, "swarm.key"}


def test_the_swarms_daemon_starts_on_a_repository_that_was_made_private() -> None:
    (setup,) = SETUP
    assert SERVICES[setup]["command"][:2] == ["store", "private"]
    assert SERVICES[setup]["user"] == SERVICES["ipfs"]["user"]
    assert SERVICES["ipfs"]["volumes"] == ["ipfs:/data/ipfs"]
    assert "ipfs:/data/ipfs" in SERVICES[setup]["volumes"]
    assert SERVICES["ipfs"]["environment"]["LIBP2P_FORCE_PNET"] == "1"


def stages() -> dict[str, list[dict[str, str]]]:
    """The Dockerfile's instructions, by the name of their stage."""
    parser = DockerfileParser(path=str(DEPLOY / "Dockerfile"), env_replace=False)
    found: dict[str, list[dict[str, str]]] = {}
    for instruction in parser.structure:
        if instruction["instruction"] == "FROM":
            found[instruction["value"].rpartition(" AS ")[2]] = []
        elif found:
            [*found.values()][-1].append(instruction)
    return found


def of(stage: str, *instructions: str) -> list[str]:
    return [one["value"] for one in stages()[stage] if one["instruction"] in instructions]


@pytest.mark.parametrize("target", ["aggregator", "node"])
def test_an_image_runs_as_nobody_in_particular_and_says_how_it_is(target: str) -> None:
    assert of(target, "USER") == ["10001:10001"]
    assert len(of(target, "HEALTHCHECK")) == 1
    assert of(target, "COPY") == [f"--from=build-{target} /opt/tally /opt/tally"]
    assert of(target, "RUN", "ADD") == [], "nothing is installed where it runs"
    assert {service["build"]["target"] for service in OURS.values()} >= {target}


def test_only_the_node_has_torch() -> None:
    assert ".[node]" in "".join(of("build-node", "RUN"))
    assert "[" not in "".join([*of("build", "RUN"), *of("build-aggregator", "RUN")])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [line for line in project["dependencies"] if line.startswith("torch")]


def test_the_build_has_every_package_and_its_context_nothing_else() -> None:
    copied = {source for value in of("build", "COPY") for source in value.split()[:-1]}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert copied == {
        *(name.rstrip("*") for name in packages["include"]),
        "pyproject.toml",
        "README.md",
        "LICENSE",
    }
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignore[0] == "*"
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    for secret in ("deploy/parties", "deploy/secrets"):
        assert any(fnmatch(secret, line) for line in ignore[1:]), secret


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not on this machine")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_is_valid_and_closed(unit: Path, tmp_path: Path) -> None:
    assert INSTALLED.as_posix() in unit.read_text()
    file = tmp_path / unit.name
    file.write_text(unit.read_text().replace(str(INSTALLED), sys.executable))  # the program has to exist
    done = subprocess.run(
        ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    asked = [
        "systemd-analyze",
        "security",
        "--offline=true",
        f"--threshold={MOST_EXPOSED}",
        "--no-pager",
        str(file),
    ]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_tries_again_only_what_passes_by_itself(unit: Path) -> None:
    text = unit.read_text()
    assert "\nRestart=on-failure\n" in text
    (never,) = re.findall(r"^RestartPreventExitStatus=(.+)$", text, re.MULTILINE)
    needs_a_person = {ExitCode.USAGE, ExitCode.VIOLATION, ExitCode.REFUSED}
    assert {int(code) for code in never.split()} == needs_a_person
    assert f"\nLoadCredential={PASSWORD_VARIABLE}:/etc/tallystick/" in text
    assert "Environment=" not in text or PASSWORD_VARIABLE not in "".join(
        re.findall("^Environment=.+$", text, re.MULTILINE)
    )


def test_a_node_may_not_listen() -> None:
    node = (DEPLOY / "systemd" / "tally-node.service").read_text()
    assert "\nSocketBindDeny=any\n" in node
    assert "SocketBindAllow" not in node
