"""`headrace demo`: the whole line on real pictures, in minutes, restartable at any point.

    <work>/configs/*.yaml    every config of the demo; each can be run again by hand
    <work>/target/           the labelled target as class folders, standing in for IN-1k
    <work>/trusted, target-train, target-val, web      datasets
    <work>/filter            the run of a small CLIP on trusted pairs; model/ in it is the filter
    <work>/evaluation        what that filter is worth, on pairs that it never saw
    <work>/aim               the AIM run
    <work>/report.html       all of it as one page

Nothing here is special to the demo but its data: each step is a job with its config, and a step
that is done already is found done.
"""

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from jobs import cluster, curate, evaluate, filter, mix, report, scorecard, train
from jobs.config import CurateConfig, MixConfig, load
from jobs.console import console, step
from jobs.judging.config import EvaluateConfig
from trainer.config import TrainConfig
from trainer.contrastive.config import FilterConfig

DATA = Path(__file__).parent / "demo_data"
HELD_OUT = DATA / "trusted" / "00000005.tar"
"""Trusted pairs that judge the filter and never train it."""

FILTER_MODEL = {
    "embed_dim": 128,
    "vision_cfg": {
        "image_size": 64,
        "patch_size": 8,
        "layers": 6,
        "width": 192,
        "head_width": 64,
    },
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2},
}


def run(work: str) -> None:
    """Runs every step that is not done yet, then prints the scorecard and what to do next."""
    folder = Path(work).absolute()
    configs = write_configs(folder)
    with step("unpack the target into class folders"):
        unpack_target(folder / "target")
    with step("make snapshots of the trusted pairs and of the target"), cluster.session():
        for name in ("trusted", "target-train", "target-val"):
            curate.run(load(configs[name], CurateConfig))
    with step("train a small CLIP filter on the trusted pairs"):
        filter.train(load(configs["filter"], FilterConfig))
    with step("judge it on trusted pairs that were held out"):
        judged = evaluate.run(load(configs["evaluation"], EvaluateConfig))
    with step("curate the web pool"):
        snapshot = curate.run(load(configs["web"], CurateConfig))
    with step("mix 0.8 web with 0.2 target, and train AIM on it"):
        mix.run(load(configs["mix"], MixConfig))
        train.run(load(configs["aim"], TrainConfig))
    with step("write the report"):
        page = report.run(snapshot.url, str(folder / "aim"), str(folder / "report.html"))
    card = scorecard.score(snapshot, DATA / "truth.parquet")
    held_out = judged.figures["filters"]["demo"]["auc"]
    scorecard.show(card, held_out, folder / "aim" / "metrics.jsonl")
    _say_what_next(folder, page, judged.page)


def unpack_target(folder: Path) -> None:
    """The target's tars as `<split>/<class>/<key>.<ext>`, as a person would have ImageNet.

    All or nothing: what a killed run left is made anew.
    """
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for tar in sorted((DATA / "target").glob("*.tar")):
        split = tar.name.partition("-")[0]
        for name, extension, image, label in _labelled(tar):
            path = partial / split / label / f"{name}.{extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
    partial.rename(folder)


def _labelled(path: Path) -> Iterator[tuple[str, str, bytes, str]]:
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            file = tar.extractfile(member) or io.BytesIO()
            samples.setdefault(key, {})[extension] = file.read()
    for key, members in samples.items():
        extension = next(e for e in members if e not in ("json", "txt"))
        yield key, extension, members[extension], json.loads(members["json"])["label"]


def write_configs(folder: Path) -> dict[str, str]:
    """Writes the demo's configs as YAML; returns their paths by name."""
    return write(folder, _curations(folder) | _filters(folder) | _trainings(folder))


def write(folder: Path, configs: dict[str, Any]) -> dict[str, str]:
    """Writes fields by name as `<folder>/configs/<name>.yaml`; returns the paths by name."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, fields in configs.items():
        path = folder / "configs" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(fields, sort_keys=False))
        paths[name] = str(path)
    return paths


def _curations(folder: Path) -> dict[str, Any]:
    def target(split: str) -> dict[str, str]:
        return {"url": str(folder / "target" / split), "format": "folder"}

    return {
        "trusted": {
            "dataset": str(folder / "trusted"),
            "sources": [{"url": str(DATA / "trusted" / "{00000000..00000004}.tar")}],
        },
        "target-train": {
            "dataset": str(folder / "target-train"),
            "sources": [target("train")],
        },
        "target-val": {"dataset": str(folder / "target-val"), "sources": [target("val")]},
        "web": {
            "dataset": str(folder / "web"),
            "sources": [{"url": str(DATA / "pool" / "*.tar")}],
            "measure": {"clip": _model(folder)},
            "decide": {
                "rules": {"min_side": 24, "max_aspect": 4, "min_caption_words": 1},
                "decontaminate": {"against": [target("val")]},
                "cuts": [{"top_fraction": 0.5}],
                "duplicates": {},
            },
        },
    }


def _filters(folder: Path) -> dict[str, Any]:
    return {
        "filter": {
            "run": str(folder / "filter"),
            "pairs": str(folder / "trusted"),
            "model": FILTER_MODEL,
            "stream": {
                "batch": 128,
                "lanes": 8,
                "image_size": 64,
                "augment": {"min_scale": 0.7},
            },
            "optimiser": {"lr": 1e-3},
            "steps": 60,
            "checkpoint_every": 20,
            "threads": 2,
        },
        "evaluation": {
            "evaluation": str(folder / "evaluation"),
            "filters": {"demo": _model(folder)},
            "trusted": [{"url": str(HELD_OUT)}],
            "off_topic": [{"url": str(folder / "target" / "val"), "format": "folder"}],
        },
    }


def _model(folder: Path) -> dict[str, str]:
    return {"model": f"local-dir:{folder / 'filter' / 'model'}"}


def _trainings(folder: Path) -> dict[str, Any]:
    def source(name: str, ratio: float) -> dict[str, Any]:
        return {"name": name, "snapshot": str(folder / name), "ratio": ratio}

    return {
        "mix": {
            "mixture": str(folder / "mixture.json"),
            "sources": [source("web", 0.8), source("target-train", 0.2)],
        },
        "aim": {
            "run": str(folder / "aim"),
            "mixture": str(folder / "mixture.json"),
            "validation": str(folder / "target-val"),
            "model": "aim-demo",
            "stream": {"batch": 64, "lanes": 8, "image_size": 64},
            "steps": 300,
            "validate_every": 100,
            "checkpoint_every": 50,
            "threads": 2,
        },
    }


def _say_what_next(folder: Path, page: str, judged: str) -> None:
    console.print(f"\n[bold]report[/bold]  {page}")
    console.print(f"[bold]the filter, judged[/bold]  {judged}", soft_wrap=True)
    console.print("next, ask why any image was kept or dropped:")
    console.print(f"  headrace why {folder / 'web'} 000000000001", soft_wrap=True)
    console.print("or change the cut and run the decision again:")
    console.print(f"  headrace curate {folder / 'configs' / 'web.yaml'}", soft_wrap=True)
    console.print("or train a filter of your own, name it there beside the demo's, and judge both:")
    console.print(
        f"  headrace filter evaluate {folder / 'configs' / 'evaluation.yaml'}", soft_wrap=True
    )
