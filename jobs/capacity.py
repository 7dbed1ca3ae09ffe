"""What the machines of a Ray cluster have, and how many tasks of some needs fit on them."""

from typing import Any

import ray

from jobs.console import console
from pipeline.format.errors import HeadraceError


def cpus() -> int:
    """Processors of the whole cluster."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def cpus_of_one() -> int:
    """Processors of the largest machine of the cluster."""
    nodes = [node["Resources"].get("CPU", 1) for node in ray.nodes() if node["Alive"]]
    return max(1, int(max(nodes, default=1)))


def gpus() -> int:
    """Accelerators of the whole cluster."""
    return int(ray.cluster_resources().get("GPU", 0))


def check(stage: str, options: dict[str, Any]) -> None:
    """Raises HeadraceError if no machine of the cluster could ever run what has these options.

    Ray would wait for such a machine without a word. A cluster that adds machines by itself may get
    one: there the wait is told of, and goes on.
    """
    nodes = _nodes()
    if _fitting(nodes, options):
        return
    asks, has = _listed(_needs(options)), "; ".join(sorted({_listed(node) for node in nodes}))
    words = f"stages.{stage}: one task asks for {asks}, and no machine has that; they have {has}"
    if not _grows():
        raise HeadraceError(f"{words}; ask for less, or start a machine that has it")
    console.print(f"{words}; waiting for the cluster to add one", soft_wrap=True)


def room(options: dict[str, Any]) -> int:
    """How many tasks or actors with these options the cluster has room for, at least 1."""
    return max(1, _fitting(_nodes(), options))


def _nodes() -> list[dict[str, float]]:
    """What each living machine has in all, used or not."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _needs(options: dict[str, Any]) -> dict[str, float]:
    """Options of a task by the names that nodes have for resources."""
    known = {"CPU": options.get("num_cpus", 1), "GPU": options.get("num_gpus", 0)}
    needs = known | {"memory": options.get("memory", 0)} | options.get("resources", {})
    return {name: amount for name, amount in needs.items() if amount}


def _fitting(nodes: list[dict[str, float]], options: dict[str, Any]) -> int:
    """How many fit, machine by machine: none may lie on two."""
    needs = _needs(options) or {"CPU": 1}

    def on(node: dict[str, float]) -> int:
        # Ray counts in ten-thousandths, where 1 holds ten times 0.1.
        return min(round(node.get(n, 0) * 10_000) // round(a * 10_000) for n, a in needs.items())

    return sum(map(on, nodes))


def _listed(resources: dict[str, float]) -> str:
    """Resources as a person writes them, without those that Ray gives each machine by itself."""
    own = ("node:", "object_store_memory", "accelerator_type:")
    kept = {name: n for name, n in sorted(resources.items()) if not name.startswith(own)}
    return ", ".join(f"{n:.15g} {name}" for name, n in kept.items()) or "nothing"


def _grows() -> bool:
    """Whether an autoscaler told Ray which kinds of machines it can add."""
    config = ray._private.state.state.get_cluster_config()
    return bool(config and config.node_group_configs)
