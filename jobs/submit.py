"""`headrace submit`: a job runs on a Ray cluster, its log and its exit code come here.

The driver runs on the head of the cluster, by Ray's job API, with this machine's code and config
and the cluster's libraries and credentials: no variable of this environment travels.
"""

import asyncio
import logging
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import aiohttp
import ray
import requests
from pydantic import BaseModel
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from jobs import parcel
from jobs.config import load
from jobs.console import console
from pipeline.format import address
from pipeline.format.errors import HeadraceError

CURATION = "jobs.config:CurateConfig"
JOBS = {
    "fetch": "pipeline.fetch.config:FetchConfig",
    "measure": CURATION,
    "decide": CURATION,
    "write": CURATION,
    "curate": CURATION,
    "refresh": CURATION,
    "mix": "jobs.config:MixConfig",
    "verify": "",
    "train": "trainer.config:TrainConfig",
    "filter train": "trainer.contrastive.config:FilterConfig",
    "filter evaluate": "jobs.judging.config:EvaluateConfig",
}
"""What makes sense on a cluster, and the model of its config."""

ENTRY = ("exec", "python", "-c", "from jobs.cli import main; main()")
"""`exec`: a signal to the job is one to the driver, and no shell hides its exit code."""

MARGIN = 30
"""Seconds that a stopped training has beyond `stop_within`. Ray by itself kills after three."""

ASK_SECONDS = 1.0
"""Between two looks whether a job whose log has ended has ended too."""


@dataclass(frozen=True)
class Job:
    """A command that is to run on the cluster, checked."""

    name: str
    """The subcommand, as in `JOBS`."""
    words: list[str]
    """The command line after `headrace`."""
    files: dict[str, Path]
    """What travels, by its place in the job's folder."""
    stop_within: int
    """Seconds between a request to stop and a kill."""


def job(name: str, words: Sequence[str], arguments: dict[str, Any]) -> Job:
    """Checks a command, its config and what travels with them. Nothing leaves this machine.

    `arguments` are the command's own, by name. Raises HeadraceError for what a person must mend.
    """
    if name not in JOBS:
        raise HeadraceError(f"submit: {name}: no job for a cluster; there are {', '.join(JOBS)}")
    told, files = list(words), dict[str, Path]()
    config = _config(name, arguments)
    parcel.check_places(name, {key: arguments[key] for key in arguments if key != "config"})
    if config:
        path = arguments["config"]
        fields = config.model_dump(mode="json")
        parcel.check_places(path, fields)
        place = os.path.relpath(path)
        place = Path(path).name if place.startswith("..") else place
        files = parcel.named_files(path, fields) | {place: Path(path)}
        told[told.index(path)] = place
    if "ray" in arguments and not arguments["ray"]:
        told.append("--ray")  # or it would train on the head alone
    return Job(name, told, files, getattr(config, "stop_within", 0) + MARGIN)


def _config(name: str, arguments: dict[str, Any]) -> BaseModel | None:
    if not JOBS[name]:
        return None
    module, _, model = JOBS[name].partition(":")
    return load(arguments["config"], getattr(import_module(module), model))


def run(todo: Job, url: str) -> int:
    """Submits the job, prints its log, and returns its exit code (128 + n if a signal n ended it).

    Ctrl-C ends the watching, not the job, with 130. Raises HeadraceError if the cluster cannot be
    asked or could not start the job.
    """
    with _plainly(url):
        client = _client(url)
        name = _submit(client, todo)
        _say(f"submit: {todo.name} is job {name}")
        try:
            ended = asyncio.run(_followed(client, name))
        except KeyboardInterrupt:
            told = address.redact(url)
            _say(f"submit: job {name} goes on without you")
            _say(f"watch it: ray job logs --follow --address {told} {name}")
            _say(f"stop it:  ray job stop --address {told} {name}")
            return 130
    return _code(ended, name)


def _client(url: str) -> JobSubmissionClient:
    if not url.startswith(("http://", "https://")):
        raise HeadraceError(
            f"--address: {address.redact(url)!r} is no http URL; give that of the cluster's "
            "dashboard, as http://HEAD:8265"
        )
    for module in ("dashboard_sdk", "job.sdk"):  # which tell of every request
        logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.WARNING)
    os.environ["RAY_API_SERVER_ADDRESS"] = url  # which Ray prefers to what it is given
    client = JobSubmissionClient(url)
    there = client._server_ray_version
    if there != ray.__version__:
        _say(
            f"submit: the cluster has Ray {there}, this machine {ray.__version__}; the job runs on "
            "the cluster's libraries"
        )
    return client


def _submit(client: JobSubmissionClient, todo: Job) -> str:
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "headrace.zip"
        parcel.pack(package, parcel.code() | todo.files)
        return client.submit_job(
            entrypoint=shlex.join([*ENTRY, *todo.words]),
            runtime_env={
                "working_dir": str(package),
                "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(todo.stop_within)},
            },
        )


async def _followed(client: JobSubmissionClient, name: str) -> JobDetails:
    """Prints the log until the job has ended; a broken line is taken up where it broke."""
    shown = 0
    while True:
        place = 0
        try:
            async for text in client.tail_job_logs(name):
                place += len(text)
                sys.stdout.write(text[max(0, len(text) - max(0, place - shown)) :])
                sys.stdout.flush()
                shown = max(shown, place)
        except (RuntimeError, aiohttp.ClientError):
            pass
        found = client.get_job_info(name)
        if found.status.is_terminal():
            return found
        await asyncio.sleep(ASK_SECONDS)


def _code(ended: JobDetails, name: str) -> int:
    """The driver's exit code; Ray has none of a job that it stopped or could not start."""
    code = ended.driver_exit_code
    if ended.status == JobStatus.STOPPED:
        raise HeadraceError(f"job {name} was stopped")
    if code is None:
        lines = (ended.message or "Ray does not say why").strip().splitlines()
        raise HeadraceError(f"job {name} could not run: {lines[-1]}")
    return code if code >= 0 else 128 - code


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


@contextmanager
def _plainly(url: str) -> Iterator[None]:
    """What asking the cluster may raise, as one line that repeats no secret."""
    where = address.redact(url)
    try:
        yield
    except ray.exceptions.AuthenticationError as error:
        raise HeadraceError(
            f"{where}: the cluster refuses this machine's token; set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH to a file with the token that its nodes were started with"
        ) from error
    except (ConnectionError, requests.RequestException) as error:
        raise HeadraceError(
            f"{where}: no Ray answers here; give the URL of the dashboard of a running cluster"
        ) from error
    except RuntimeError as error:
        first = address.redact_words(str(error).strip().partition("\n")[0])
        raise HeadraceError(f"{where}: {first}") from error
