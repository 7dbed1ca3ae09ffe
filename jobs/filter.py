"""`headrace filter`: trains the network that scores image-text pairs, and takes it out of a run."""

from jobs import train as training
from pipeline.clip.names import HUB, LOCAL
from trainer.contrastive.config import FilterConfig


def train(config: FilterConfig, nproc: int = 1, ray: bool = False) -> str:
    """Trains a filter to its last step, on ranks as `jobs.train.run` has them, and exports it.

    Returns the name under which `measure.clip.model` finds it, `local-dir:<run>/model`. A run that
    is done is found done. Raises HeadraceError as the training and the export do.
    """
    training.run(config, nproc, ray=ray)
    return export(config.run, f"{config.run}/model")


def export(run: str, out: str) -> str:
    """The newest checkpoint of a run, or one that is named, as a folder that open_clip reads."""
    from trainer.contrastive.export import export  # loads open_clip

    return export(run, out)


def ensemble(one: str, other: str, alpha: float, out: str) -> str:
    """(1 - alpha) · one + alpha · other, weight by weight; each a folder or a model's name."""
    from trainer.contrastive.ensemble import ensemble  # loads open_clip

    return ensemble(_named(one), _named(other), alpha, out)


def _named(model: str) -> str:
    return model if model.startswith((LOCAL, HUB)) else LOCAL + model
