"""`headrace miniature`: two of the paper's experiments on real pictures, small enough for a laptop.

    <work>/configs/*.yaml    every config of it; each can be run again by hand
    <work>/pictures/         the demo's labelled pictures as class folders
    <work>/target, target-train, target-val, web      datasets
    <work>/sweep/            trainings, probes and tables, as `headrace sweep` leaves them

A labelled picture of each class stands in for IN-1k, so that it is passed over about as often as
there; the pool, curated without a cut, and the trusted pairs stand in for DFN-2B. All 400 labelled
pictures train the probes. What comes out is what the tables say.
"""

import shutil
from pathlib import Path
from typing import Any

from jobs import cluster, curate, demo
from jobs.config import CurateConfig, load
from jobs.console import console, step
from jobs.demo import DATA, unpack_target
from jobs.sweep import sweep, text
from jobs.sweep.config import SweepConfig

ABLATIONS = ("data-mix", "attention")
"""Tables 2 and 3d. The second trains on the mix: with its prefix rows the first is half done."""

PER_CLASS = 1
"""Pictures of each of the ten classes that are pre-trained on: 600 steps of 32 pass over them 1,920
times. The paper's 500,000 of 4,096 pass over IN-1k 1,600 times (AIM §5.1, figure 5)."""

MODEL = {
    "image_size": 64,
    "patch_size": 8,
    "embed_dim": 128,
    "depth": 4,
    "num_heads": 4,
    "head_width": 128,
    "head_depth": 2,
}


def run(work: str) -> None:
    """Runs what is not done yet on a Ray of this machine, a processor a training; prints tables."""
    folder = Path(work).absolute()
    configs = write_configs(folder)
    with step("unpack the target, and one picture of each of its classes"):
        unpack_target(folder / "pictures")
        pick(folder / "pictures" / "train", folder / "few")
    with cluster.session():
        with step("make snapshots of the target and of the web pool"):
            for name in ("target", "target-train", "target-val", "web"):
                curate.run(load(configs[name], CurateConfig))
        config, tables = load(configs["sweep"], SweepConfig), []
        for ablation in ABLATIONS:
            with step(f"train and probe the rows of {ablation}"):
                tables.append(sweep.run(ablation, config, ray=True))
    console.print("", *map(text.markdown, tables), sep="\n", markup=False, soft_wrap=True)
    console.print(f"curves: {folder}/sweep/*/curves.svg", soft_wrap=True)


def pick(classes: Path, few: Path) -> None:
    """The first PER_CLASS pictures of each class folder, by name. All or nothing, as the unpacking
    is."""
    if few.exists():
        return
    partial = few.with_name(f"{few.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for folder in sorted(classes.iterdir()):
        (partial / folder.name).mkdir(parents=True)
        for picture in sorted(folder.iterdir())[:PER_CLASS]:
            shutil.copy2(picture, partial / folder.name)
    partial.rename(few)


def write_configs(folder: Path) -> dict[str, str]:
    """Writes the configs as YAML; returns their paths by name."""
    return demo.write(folder, _curations(folder) | {"sweep": _sweep(folder)})


def _curations(folder: Path) -> dict[str, Any]:
    def labelled(where: Path) -> dict[str, str]:
        return {"url": str(where), "format": "folder"}

    pictures = folder / "pictures"
    places = {
        "target": folder / "few",
        "target-train": pictures / "train",
        "target-val": pictures / "val",
    }
    configs: dict[str, Any] = {
        name: {"dataset": str(folder / name), "sources": [labelled(where)]}
        for name, where in places.items()
    }
    configs["web"] = {
        "dataset": str(folder / "web"),
        "sources": [{"url": str(DATA / part / "*.tar")} for part in ("pool", "trusted")],
        "decide": {
            "rules": {"min_side": 24, "max_aspect": 4},
            "decontaminate": {"against": [labelled(pictures / "val")]},
            "duplicates": {},
        },
    }
    return configs


def _sweep(folder: Path) -> dict[str, Any]:
    stream = {"batch": 32, "lanes": 8, "image_size": 64, "threads": 1}
    return {
        "sweep": str(folder / "sweep"),
        "seeds": [0, 1, 2],
        "sources": {"target": str(folder / "target"), "web": str(folder / "web")},
        "train_on": "mix",
        "train": {
            "model": MODEL,
            "validation": str(folder / "target-val"),
            "stream": stream,
            "steps": 600,
            "log_every": 20,
            "validate_every": 60,
            "checkpoint_every": 100,
        },
        "probe": {
            "train": str(folder / "target-train"),
            "test": str(folder / "target-val"),
            "epochs": 20,
            "stream": stream,
            "grid": {"lr": [3e-4, 1e-3, 3e-3], "weight_decay": [0.1]},
            "hold_out": 0.1,
        },
        "resources": {"cpus": 1},
    }
