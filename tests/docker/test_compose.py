import re
from typing import Any

import pytest
from ray.scripts.scripts import start

from tests.docker.files import DOCKER, VERSION, compose, named, understood

SERVICES = compose()["services"]
RAY = {name: service for name, service in SERVICES.items() if name != "s3"}
NODES = {name: SERVICES[name] for name in ("head", "worker")}
each_node = pytest.mark.parametrize("node", NODES.values(), ids=NODES)


def options(node: dict[str, Any]) -> dict[str, Any]:
    """What this Ray understands of a node's command."""
    program, command, *rest = node["command"].split()
    assert (program, command) == ("ray", "start")
    return start.make_context("start", rest).params


def test_there_are_a_head_two_workers_and_an_s3_server() -> None:
    assert set(SERVICES) == {"s3", "head", "worker", "refresh"}
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    assert SERVICES["refresh"]["profiles"] == ["jobs"]  # not started with the others


def test_every_image_is_pinned() -> None:
    assert {service["image"] for service in RAY.values()} == {f"headrace-ray:{VERSION}"}
    assert re.fullmatch(r"\S+:[\d.]+@sha256:[0-9a-f]{64}", SERVICES["s3"]["image"])


def test_secrets_come_from_files_that_git_does_not_take() -> None:
    for service in SERVICES.values():
        assert service["env_file"]
        assert all(name.startswith("secrets/") for name in service["env_file"])
        assert not [name for name in service.get("environment", {}) if _is_secret(name)]
    assert "/secrets/" in (DOCKER / ".gitignore").read_text().split()
    assert not re.search(r"\$\{", (DOCKER / "compose.yaml").read_text())


def _is_secret(name: str) -> bool:
    return bool(re.search("KEY|SECRET|TOKEN|PASSWORD", name))


def test_every_process_of_ray_asks_for_the_token() -> None:
    for service in RAY.values():
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert "secrets/ray.env" in service["env_file"]


def test_nothing_is_open_to_other_machines() -> None:
    ports = [port for found in named(SERVICES, "ports") for port in found]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_containers_of_ray_may_do_nothing_that_a_user_may_not() -> None:
    for service in RAY.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@each_node
def test_a_node_is_waited_for_until_it_is_healthy(node: dict[str, Any]) -> None:
    assert node["healthcheck"]["test"][0] == "CMD"
    waited = {name: how["condition"] for name, how in node["depends_on"].items()}
    assert set(waited.values()) == {"service_healthy"}


@each_node
def test_this_ray_understands_a_nodes_command_and_its_memory_is_there(node: dict[str, Any]) -> None:
    found = options(node)
    assert found["block"]
    assert found["object_store_memory"] <= _bytes(node["shm_size"])


def _bytes(size: str) -> int:
    return int(size.removesuffix("gb")) * 1024**3


def test_workers_join_the_head_where_it_listens() -> None:
    head, worker = options(NODES["head"]), options(NODES["worker"])
    assert head["head"]
    assert worker["address"] == f"head:{head['port']}"
    assert (head["num_cpus"], worker["num_cpus"]) == (0, 2)


def test_the_refresh_is_a_command_that_headrace_has() -> None:
    understood(SERVICES["refresh"]["command"].split())
    assert SERVICES["refresh"]["working_dir"] == "/etc/headrace"
    assert "./configs:/etc/headrace:ro" in SERVICES["refresh"]["volumes"]
