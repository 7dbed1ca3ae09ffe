"""`headrace mix --materialise`: a mixture's first planned samples as plain tars, for trainers that
cannot mix. A task writes one tar, and works out by itself what belongs there.
"""

import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import ray

from jobs import capacity, cluster, metrics
from jobs.config import MaterialiseConfig
from jobs.console import progress
from jobs.record import recording
from pipeline.format import address, store, writing
from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import Mixture
from pipeline.format.snapshot import Shard, parquet_bytes
from pipeline.format.tars import Sample, scan
from pipeline.write.tar import Tar
from trainer.stream.opening import Opened, as_planned, open_all
from trainer.stream.order import ORDER, Array
from trainer.stream.plan import Slots, StreamPlan, part
from trainer.stream.source import Run, Source

FORMAT = 1

TOGETHER = 2048
"""Samples whose bytes a task holds at once: 200 MB where an image has 100 KB, with those that lie
between them up to three times as much. Of indexes it holds what a stream does: see indexes.py."""

NEAR = 4
"""Wanted samples less than this apart are read in one go, and what lies between them too."""

READS = 8
"""Ranges that one task reads at once."""


@dataclass(frozen=True)
class _Job:
    """What every task is told."""

    config: MaterialiseConfig
    opened: list[Opened]
    plan: StreamPlan
    samples: int

    @property
    def tars(self) -> int:
        return -(-self.samples // self.config.shard_samples)

    def url(self, path: str) -> str:
        return address.join(address.absolute(self.config.to), path)


def run(
    mixture: Mixture, config: MaterialiseConfig, samples: int, workers: int | None = None
) -> list[Shard]:
    """Writes the tars that are not there yet, then `materialised.json`, which names them all.

    Planned samples are copied as they lie, undecoded. Raises HeadraceError if the folder holds
    something else, or if a source is damaged.
    """
    opened = open_all(mixture)
    sources = [as_planned(source, config.block, config.lanes) for source in opened]
    plan = StreamPlan(sources, config.seed, config.batch, config.lanes)
    job = _Job(config, opened, plan, samples)
    _claim(job, mixture)
    with recording("materialise", address.absolute(config.to), config) as record:
        with cluster.session(workers), record.stage("materialise"):
            tars = _write_tars(job)
        writing.sweep(job.url(""))  # of what killed workers left
        facts = {"format": FORMAT, "samples": samples, "tars": [asdict(tar) for tar in tars]}
        writing.publish(job.url("materialised.json"), _json(facts))
        record.note(counts={"samples": samples})
    return tars


def _claim(job: _Job, mixture: Mixture) -> None:
    """Marks the folder as that of these samples, by `plan.json`: a run that was killed goes on
    there, and tars of other samples are not touched."""
    fields = {
        "format": FORMAT,
        "mixture": asdict(mixture),
        "order": ORDER,
        "plan": job.config.model_dump(mode="json", exclude={"to"}),
        "samples": job.samples,
        "shards": {name: shards.id for name, _, shards in job.opened},
    }
    url, data = job.url("plan.json"), _json(fields)
    names = store.names(job.url(""))
    free = "plan.json" in names or not any(name.endswith(".tar") for name in names)
    try:
        if free:
            writing.publish(url, data, create_only=True)
    except FileExistsError:
        free = store.read_bytes(url) == data
    if not free:
        raise HeadraceError(
            f"{address.absolute(job.config.to)}: holds tars of other samples; materialise into a "
            "folder of its own"
        )


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode() + b"\n"


def _write_tars(job: _Job) -> list[Shard]:
    tars = []
    with progress("materialise", job.tars, "tars") as advance:
        shared = ray.put(job)

        def submit(number: int) -> Any:
            return _tar_task.remote(shared, number)

        for tar in cluster.run(range(job.tars), submit, lambda: 2 * capacity.cpus()):
            tars.append(tar)
            metrics.wrote(tar, "materialise")
            advance(1)
    return sorted(tars, key=lambda tar: tar.path)


@ray.remote(max_retries=3)
def _tar_task(job: _Job, number: int) -> Shard:
    return _write_tar(job, number)


def _write_tar(job: _Job, number: int) -> Shard:
    """One tar, then its index, which tells that it is whole."""
    path = f"{number:08d}.tar"
    index_url = job.url(Shard(path, 0, 0, "").index_path)
    if store.exists(index_url):
        return _written(path, index_url)
    begin = number * job.config.shard_samples
    end = min(begin + job.config.shard_samples, job.samples)
    sources = [Source(name, shards) for name, _, shards in job.opened]
    with writing.publishing(job.url(path)) as file:
        tar = Tar(file)
        for first in range(begin, end, TOGETHER):
            slots = _planned(job.plan, first, min(first + TOGETHER, end))
            for at, members in enumerate(_members(sources, slots), first):
                tar.add(f"{at:012d}", members)
        index = tar.close()
    shard = Shard(path, end - begin, tar.nbytes, tar.digest.hexdigest())
    facts = {"nbytes": str(shard.nbytes), "sha256": shard.sha256}
    writing.publish(index_url, parquet_bytes(index.replace_schema_metadata(facts)))
    return shard


def _written(path: str, index_url: str) -> Shard:
    with store.open_read(index_url) as file:
        found = pq.read_metadata(file)
    facts = found.schema.to_arrow_schema().metadata
    return Shard(path, found.num_rows, int(facts[b"nbytes"]), facts[b"sha256"].decode())


def _planned(plan: StreamPlan, begin: int, end: int) -> Slots:
    """The samples [begin, end) of the whole stream: by step, then lane, then slot."""
    step = begin // plan.batch
    slots = plan.slots(step, np.arange(plan.lanes), -(-end // plan.batch) - step)
    return part(slots, slice(begin - step * plan.batch, end - step * plan.batch))


def _members(sources: Sequence[Source], slots: Slots) -> Iterator[dict[str, bytes]]:
    """The files of each sample, in the order of the slots."""
    samples = slots.places.sample
    runs: dict[tuple[int, int], Run] = {}
    with ThreadPoolExecutor(READS) as pool:
        for n, source in enumerate(sources):
            spans = _spans(samples[slots.source == n])
            for found in pool.map(lambda span, source=source: source.read(*span), spans):
                for run in found:
                    runs |= {(n, run.first + row): run for row in range(len(run))}
    for n, sample in zip(slots.source.tolist(), samples.tolist(), strict=True):
        yield _files(runs[n, sample], sample)


def _spans(samples: Array) -> list[tuple[int, int]]:
    """First and count of the neighbours to read together."""
    wanted = np.unique(samples)
    parts = np.split(wanted, np.flatnonzero(np.diff(wanted) >= NEAR) + 1)
    return [(int(near[0]), int(near[-1] - near[0]) + 1) for near in parts if len(near)]


def _files(run: Run, sample: int) -> dict[str, bytes]:
    """The image, `json` and `txt` of a sample: its own bytes tell where they lie in it."""
    record, row, origin = run.record(sample), sample - run.first, run.index.start[0]
    data = run.data[run.index.start[row] - origin : run.index.stop[row] - origin]
    found, fault = next(scan(io.BytesIO(data)), None), record.fault
    if isinstance(found, Sample) and found.stop == len(data) and found.image and not fault:
        wanted = (found.image.extension, "json", "txt")
        members = [one for name, one in found.members.items() if name in wanted]
        return {one.extension: data[one.offset : one.offset + one.nbytes] for one in members}
    fault = fault or "not_in_tar: other files stand where the index says"
    raise HeadraceError(f"{record.url}: sample {record.key}: {fault}; restore the shard")
