"""Saving while training goes on.

    loop    copies weights and moments to memory of the host, then trains on
    thread  clears what a kill left → every rank writes its file → COMPLETE → old ones go

The thread talks to its like on the other ranks in a process group of its own: collectives of one
group must come in one order on all ranks, and the loop's would come between.
"""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.checkpoint.state_dict_saver import save as save_sharded

from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError
from trainer.checkpoint import finding, retention, storage

T = TypeVar("T")

LONGEST = timedelta(hours=6)
"""For one rank to write its part, while the threads of the others wait for it."""

FIX = "make room there, or look at the store, and run the same command again"


class Saver:
    """Saves the checkpoints of a run, one at a time. All ranks call all its methods alike.

    `where` is the folder or URL of all of them, `keep` how many complete ones stay there.
    """

    def __init__(self, where: str, keep: int) -> None:
        self.where, self.keep = where, keep
        self._group: Any = dist.new_group(backend="gloo", timeout=LONGEST)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saving")
        self._stager = _stager()
        self._writing: Future[None] | None = None

    def save(
        self, step: int, model: nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any]
    ) -> None:
        """Begins a checkpoint of the step; what is saved may change as soon as this returns.

        Waits for the save before, and raises HeadraceError on all ranks if that one failed. A
        complete checkpoint of the step is left as it is.
        """
        self.wait()
        url = finding.at(self.where, step)
        if self._by_the_first(lambda: finding.is_complete(url)):
            return
        parts = self._stager.stage(_parts(model, optimiser))
        marker = json.dumps({"step": step, **state}).encode()
        self._writing = self._thread.submit(self._write, url, parts, marker)

    def wait(self) -> None:
        """Returns when what was saved is complete; raises as `save` does."""
        under_way, self._writing = self._writing, None
        if under_way:
            under_way.result()

    def close(self) -> None:
        """Lets a save under way end and frees the copies. How it ended, `wait` tells."""
        self._thread.shutdown()
        self._stager.close()

    def _write(self, url: str, parts: Any, marker: bytes) -> None:
        self._by_the_first(lambda: retention.delete(url))
        # torch tells a full disk in words of its own if a large tensor met it.
        with storage.told(url, "not written", FIX, (OSError, RuntimeError)):
            metadata = save_sharded(
                parts, storage_writer=storage.writer(url), process_group=self._group
            )
        self._by_the_first(lambda: self._commit(url, metadata, marker))

    def _commit(self, url: str, metadata: Metadata, marker: bytes) -> None:
        _check_whole(url, metadata)
        writing.publish(address.join(url, finding.MARKER), marker)
        retention.keep_newest(self.where, self.keep)

    def _by_the_first(self, action: Callable[[], T]) -> T:
        """What the action of the first rank returns or raises, on all ranks."""
        outcome: list[Any] = [None, None]
        if dist.get_rank() == 0:
            try:
                outcome[0] = action()
            except HeadraceError as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome, src=0, group=self._group)
        if outcome[1]:
            raise outcome[1]
        value: T = outcome[0]
        return value


def _parts(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Weights and moments. Where there are none yet, torch makes them by a step that it counts."""
    untouched = not optimiser.state
    weights, moments = get_state_dict(model, optimiser)
    if untouched:
        for state in optimiser.state.values():
            state["step"].zero_()
    return {"model": weights, "optimiser": moments}


def _stager() -> DefaultStager:
    """Copies to memory that is kept from save to save; pinned for a GPU, which copies faster so."""
    gpu = torch.cuda.is_available()
    return DefaultStager(
        StagingOptions(
            use_pinned_memory=gpu,
            use_shared_memory=False,
            use_async_staging=False,
            use_non_blocking_copy=gpu,
        )
    )


def _check_whole(url: str, metadata: Metadata) -> None:
    """Finds a folder that is another one on each node out now, not when it must be loaded."""
    names = sorted({part.relative_path for part in (metadata.storage_data or {}).values()})
    missing = [name for name in names if not store.exists(address.join(url, name))]
    if missing:
        raise HeadraceError(
            f"{address.redact(url)}: {len(missing)} of {len(names)} files are missing, "
            f"{missing[0]} first; the folder must be one that all nodes share, or a URL"
        )
