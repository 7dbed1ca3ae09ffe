"""What a run learns. The loop, checkpoints, stops and the log serve every kind of it alike."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn

from trainer.stream.batch import Batch


class Learner(Protocol):
    """A model on this rank, and what a batch teaches it. All ranks call all its methods alike."""

    @property
    def model(self) -> nn.Module:
        """What is optimised and saved; on the rank's device, sharded."""

    @property
    def probe(self) -> nn.Module:
        """A piece of the model that computes alone; see slow.py."""

    @property
    def flops(self) -> float:
        """Of training on one image, with whatever belongs to it."""

    @property
    def identity(self) -> dict[str, Any]:
        """What the weights depend on beside the config: what it leaves open, or only points at."""

    @property
    def snapshots(self) -> tuple[str, ...]:
        """URLs of the snapshots that it validates on."""

    def groups(self) -> list[dict[str, Any]]:
        """The parameters of the model as AdamW takes them: `params` and `weight_decay` of each."""

    def rates(self, step: int) -> list[float]:
        """The learning rate of each group in the update that `step` others came before."""

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Adds this rank's gradients. Waits for no device.

        Returns this rank's share of the loss, which the shares of all ranks add up to, and how much
        of each image is not finite, (n,). Where the loss is not, no rank's gradient may be.
        """

    def clipped(self) -> Tensor:
        """Bounds the gradients. Returns their L2 norm before, over all ranks, on the device.

        Where it is not finite on all ranks alike, no rank makes the update.
        """

    def updated(self) -> None:
        """Comes after every update, made or skipped."""

    def validate(self, step: int, poll: Callable[[], None]) -> dict[str, Any] | None:
        """Fields of a log line, after `step` steps; None if there is nothing to validate on.

        A collective call. `poll` comes before each batch, and may raise.
        """
