import copy
import re
from typing import Any

import jsonschema
import pytest

from tests.docker.files import DOCKER, MANIFESTS, VERSION, manifests, named, pinned, understood
from tests.docker.kuberay import schema

ALL = {
    f"{path.stem}-{manifest['kind']}": manifest
    for path in MANIFESTS
    for manifest in manifests(path)
}
each = pytest.mark.parametrize("manifest", ALL.values(), ids=ALL)
CLUSTERS = [
    cluster
    for manifest in ALL.values()
    for cluster in (
        [manifest["spec"]]
        if manifest["kind"] == "RayCluster"
        else list(named(manifest, "rayClusterSpec"))
    )
]
PODS = [
    pod["spec"]
    for name in ("template", "submitterPodTemplate")
    for manifest in ALL.values()
    for pod in named(manifest, name)
]
WEEK = 7 * 24 * 3600


def kinds(stem: str) -> list[str]:
    return [manifest["kind"] for manifest in manifests(DOCKER / "kubernetes" / f"{stem}.yaml")]


def check(manifest: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema(manifest["apiVersion"], manifest["kind"])).validate(
        manifest
    )


def test_there_are_a_weekly_refresh_one_now_and_a_training() -> None:
    assert kinds("refresh-raycronjob") == ["RayCronJob"]
    assert kinds("refresh-cronjob") == ["RayCluster", "CronJob"]
    assert kinds("refresh-rayjob") == ["RayJob"]
    assert kinds("train-rayjob") == ["PersistentVolumeClaim", "RayJob"]
    assert len(MANIFESTS) == 4


@each
def test_a_manifest_has_only_fields_that_its_kind_knows(manifest: dict[str, Any]) -> None:
    check(manifest)


def test_a_field_of_another_kind_is_refused() -> None:
    """The reason for the second file of the weekly refresh."""
    manifest = copy.deepcopy(ALL["refresh-raycronjob-RayCronJob"])
    manifest["spec"]["concurrencyPolicy"] = "Forbid"
    with pytest.raises(jsonschema.ValidationError, match="concurrencyPolicy"):
        check(manifest)


def test_no_weekly_refresh_begins_while_the_last_one_goes_on() -> None:
    ray = ALL["refresh-raycronjob-RayCronJob"]["spec"]
    plain = ALL["refresh-cronjob-CronJob"]["spec"]
    assert ray["schedule"] == plain["schedule"] == "0 3 * * 1"
    job = ray["jobTemplate"]
    assert job["activeDeadlineSeconds"] * (job["backoffLimit"] + 1) < WEEK
    assert plain["concurrencyPolicy"] == "Forbid"


def test_a_refresh_now_is_the_weekly_one() -> None:
    weekly = ALL["refresh-raycronjob-RayCronJob"]["spec"]["jobTemplate"]
    assert ALL["refresh-rayjob-RayJob"]["spec"] == weekly
    assert ALL["refresh-cronjob-RayCluster"]["spec"] == weekly["rayClusterSpec"]


def test_a_cluster_that_was_made_for_a_job_goes_with_it() -> None:
    for name in ("refresh-rayjob-RayJob", "train-rayjob-RayJob"):
        assert ALL[name]["spec"]["shutdownAfterJobFinishes"] is True
        assert ALL[name]["spec"]["ttlSecondsAfterFinished"] > 0


def test_ray_is_the_version_that_the_images_have() -> None:
    assert len(CLUSTERS) == 4
    assert {cluster["rayVersion"] for cluster in CLUSTERS} == {pinned("ray")}
    images = {container["image"] for pod in PODS for container in pod["containers"]}
    assert images == {f"headrace-ray:{VERSION}", f"headrace-trainer:{VERSION}"}


def test_every_cluster_asks_for_the_token_of_one_secret() -> None:
    asked = [cluster["authOptions"] for cluster in CLUSTERS]
    assert asked == [{"mode": "token", "secretName": "headrace-ray-token"}] * 4
    (submit,) = ALL["refresh-cronjob-CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"][
        "containers"
    ]
    token = {"name": "headrace-ray-token", "key": "auth_token"}
    assert {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": token}} in submit["env"]


def test_no_manifest_holds_a_secret() -> None:
    assert "Secret" not in {manifest["kind"] for manifest in ALL.values()}
    plain = [
        variable["name"]
        for variables in named(list(ALL.values()), "env")
        for variable in variables
        if "value" in variable
    ]
    assert plain == ["RAY_AUTH_MODE"]


def test_the_readme_makes_what_the_manifests_want() -> None:
    readme = (DOCKER / "README.md").read_text()
    everything = list(ALL.values())
    secrets = {found["name"] for found in named(everything, "secretRef")}
    secrets |= {options["secretName"] for options in named(everything, "authOptions")}
    for secret in secrets:
        assert f"kubectl create secret generic {secret} " in readme
    for maps in named(everything, "configMap"):
        assert f"kubectl create configmap {maps['name']} --from-file=docker/configs\n" in readme
    claims = {found["claimName"] for found in named(everything, "persistentVolumeClaim")}
    assert claims == {ALL["train-rayjob-PersistentVolumeClaim"]["metadata"]["name"]}


def test_every_pod_runs_as_a_user_with_no_rights_but_its_own() -> None:
    assert len(PODS) == 12
    for pod in PODS:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_every_container_says_what_it_needs() -> None:
    for pod in PODS:
        for container in pod["containers"]:
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert container["resources"]["limits"]["memory"]


def test_what_is_mounted_is_a_volume_of_the_pod() -> None:
    for pod in PODS:
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            assert mounted == volumes


def entrypoints() -> list[str]:
    submitted = [
        " ".join([*container["command"], *container["args"]])
        for pod in PODS
        for container in pod["containers"]
        if "command" in container
    ]
    return [*named(list(ALL.values()), "entrypoint"), *submitted]


@pytest.mark.parametrize("entrypoint", sorted(set(entrypoints())))
def test_an_entrypoint_is_a_command_that_headrace_has(entrypoint: str) -> None:
    understood(entrypoint.split())
    (config,) = re.findall(r"(\w+\.yaml)", entrypoint)
    assert (DOCKER / "configs" / config).is_file()


def test_a_training_asks_for_the_gpus_that_its_machines_have() -> None:
    spec = ALL["train-rayjob-RayJob"]["spec"]
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    (worker,) = group["template"]["spec"]["containers"]
    gpus = group["replicas"] * worker["resources"]["limits"]["nvidia.com/gpu"]
    assert f"--nproc {gpus}" in spec["entrypoint"]
