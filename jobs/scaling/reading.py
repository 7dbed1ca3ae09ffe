"""What is known of a run: its size, its compute and its losses, from its folder alone."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.format.errors import HeadraceError
from trainer import metrics
from trainer.config import FREE_TO_CHANGE, TrainConfig
from trainer.flops import image_flops
from trainer.model.aim import count_parameters
from trainer.objective.targets.choose import choose

Figures = dict[str, Any]


def read(name: str, folder: Path) -> Figures:
    """A run as scaling.json has it; the head of figures.py names the fields.

    FLOPs are of training on all patches under a mask of all pairs, about 6 · parameters · patches,
    whatever kernel and prefix a machine ran with: so that one model has one figure. Raises
    HeadraceError if the folder is not one of a training of AIM, or nothing was validated.
    """
    config, parent = _config(folder)
    shape, batch = config.shape, config.stream.batch
    flops = image_flops(shape, choose(config.objective.target, shape).outputs).training
    parameters = count_parameters(shape)
    lines = metrics.read(folder / "metrics.jsonl")
    validated = [_point(line, flops * batch) for line in lines if "validation" in line]
    if not validated:
        raise HeadraceError(
            f"{folder}: metrics.jsonl has no validation; name `validation` in the run's config"
        )
    curves = [line["curve"] for line in lines if line.get("curve")]
    return {
        "run": name,
        "model": shape.model_dump(mode="json"),
        "parameters": {"backbone": parameters.backbone, "head": parameters.pixel_head},
        "steps": config.steps,
        "images": config.steps * batch,
        "flops_per_image": flops,
        "validated": validated,
        "finished": validated[-1]["step"] == config.steps,
        "fork": parent is not None,
        "curve": curves[-1] if curves else None,
        "validation": config.validation,
        "alike": _alike(config),
    }


def _config(folder: Path) -> tuple[TrainConfig, Any]:
    path = folder / "config.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        parent = fields.pop("parent", None)
        return TrainConfig.model_validate(fields), parent
    except OSError as error:
        raise HeadraceError(
            f"{folder}: no run of `headrace train`: config.json: {error.strerror}"
        ) from error
    except (ValueError, AttributeError, ValidationError) as error:
        told = " ".join(str(error).split())
        raise HeadraceError(f"{path}: not the config of a training of AIM: {told}") from error


def _point(line: Figures, step_flops: float) -> Figures:
    step = line["step"]
    return {"step": step, "flops": step * step_flops, "losses": line["validation"]}


def _alike(config: TrainConfig) -> dict[str, Any]:
    """What two runs may have in common, as text that is equal if they have.

    `units`: what a loss is measured in. `data`: what is learnt and from what. `recipe`: all that
    the weights follow from but model, length and seeds.
    """
    target = config.objective.target.model_dump(mode="json")
    grid = {"image_size": config.shape.image_size, "patch_size": config.shape.patch_size}
    kept = FREE_TO_CHANGE | {"steps", "seed", "threads", "compute", "model", "validation"}
    fields = config.model_dump(mode="json", exclude=kept)
    stream = {name: fields["stream"][name] for name in ("batch", "image_size", "augment")}
    fields |= {"stream": stream, "precision": config.compute.precision}
    return {
        "units": _text(target | grid),
        "data": _text([config.mixture, config.objective.model_dump(mode="json")]),
        "batch": config.stream.batch,
        "model": _text(config.shape.model_dump(mode="json")),
        "recipe": _text(fields),
    }


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
