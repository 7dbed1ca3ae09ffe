"""The `stages` section: what one task or actor of a stage takes of the machine that it runs on.

It says where and how many run at once, never what comes out: no snapshot depends on it.
"""

from typing import Any

from pydantic import Field

from pipeline.settings import Settings


class StageConfig(Settings):
    """What one task of a stage asks of a node of the cluster. What is left out is as without it."""

    cpus: float | None = Field(default=None, gt=0)
    """Processors; fractions let several tasks share one."""

    gpus: float | None = Field(default=None, gt=0)
    """GPUs; 0.25 puts four actors on one GPU, which must hold the model four times."""

    memory: float | None = Field(default=None, ge=1)
    """Bytes of RAM that are set aside, of what the node was started with. Nothing enforces them.
    `2e9` is 2 GB."""

    resources: dict[str, float] = Field(default={})
    """Custom resources, by the names that nodes were started with (`ray start --resources`)."""

    def options(self, **defaults: Any) -> dict[str, Any]:
        """The keywords of Ray's `.options()`: what the section says, over the defaults."""
        memory = int(self.memory) if self.memory else None
        said = {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": memory}
        given = {name: value for name, value in said.items() if value is not None}
        return defaults | given | ({"resources": dict(self.resources)} if self.resources else {})


class StagesConfig(Settings):
    """Resources of each stage of a curation, under the names that `measure` has for them."""

    image: StageConfig = StageConfig()
    """A task that measures one part."""

    clip: StageConfig = StageConfig()
    """An actor that holds the CLIP model."""

    models: dict[str, StageConfig] = Field(default={})
    """An actor of a further model, by its name under `measure.models`."""

    decide: StageConfig = StageConfig()
    """A task of decide; small pools are decided in the driver."""

    write: StageConfig = StageConfig()
    """A task that writes one shard."""

    def family(self, name: str) -> StageConfig:
        """The stage that scores a ledger family: `clip`, or a further model."""
        return self.clip if name == "clip" else self.models.get(name, StageConfig())

    @property
    def named(self) -> dict[str, StageConfig]:
        """Stage, as a config file names it → what it asks for."""
        models = {f"models.{name}": stage for name, stage in self.models.items()}
        fixed = {"image": self.image, "clip": self.clip, "decide": self.decide, "write": self.write}
        return fixed | models
