"""`headrace export` and `headrace import`: weights out of a run, and from elsewhere."""

from trainer.export.read import find
from trainer.export.record import Dtype, Record
from trainer.export.runs import of_run
from trainer.export.write import write
from trainer.model.sizes import ModelConfig


def run(where: str, out: str, dtype: Dtype = "float32") -> Record:
    """Exports the newest checkpoint of a run, or the one that `where` names, to the folder `out`.

    `where` is as for a fork: a run, the folder of its checkpoints, or one of them. Raises
    HeadraceError if there is no complete checkpoint of an AIM, or if `out` holds other weights.
    """
    found = of_run(where, dtype)
    return write(found.tensors, out, found.record)


def import_(
    weights: str, out: str, model: ModelConfig | None = None, dtype: Dtype = "float32"
) -> Record:
    """Writes weights of ml-aim, ml-l3m or an export of ours as an export to the folder `out`.

    `model` is needed for sizes that have no name. Weights without a pixel head give an export
    without one. Raises HeadraceError if they are no AIM's, or if `out` holds other weights.
    """
    found = find(weights, model)
    return write(found.tensors, out, found.record.model_copy(update={"dtype": dtype}))
