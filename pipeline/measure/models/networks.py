"""Runs a network of a file: batches of arrays in, float32 arrays out.

Files are hostile. An ONNX file is data, and may read no other file. A TorchScript file is a
program for torch's interpreter, which shields a machine from little.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.format.errors import HeadraceError
from pipeline.measure.batches import Array
from pipeline.measure.models.config import EXTRA, ModelConfig

Network = Callable[[Array], Array]


def onnx(file: Path, config: ModelConfig) -> Network:
    """An ONNX file under onnxruntime. Raises what onnxruntime does if it is none."""
    try:
        import onnxruntime
    except ImportError as error:
        raise HeadraceError(
            f"kind {config.kind} needs onnxruntime; run `pip install '{EXTRA}'`"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = config.threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what is wrong is raised, too
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[config.device]
    if provider not in onnxruntime.get_available_providers():
        raise HeadraceError("device cuda needs onnxruntime-gpu in place of onnxruntime")
    # From bytes: the runtime knows no folder in which to look for weights outside the file.
    session = onnxruntime.InferenceSession(file.read_bytes(), options, providers=[provider])
    (name,) = [one.name for one in session.get_inputs()]
    first = session.get_outputs()[0].name
    return lambda batch: np.asarray(session.run([first], {name: batch})[0], np.float32)


def torchscript(file: Path, config: ModelConfig) -> Network:
    """A TorchScript file under torch. Raises what torch does if it is none."""
    import torch

    torch.set_num_threads(config.threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated; files of it will be about
        model = torch.jit.load(str(file), map_location="cpu").to(config.device).eval()

    @torch.inference_mode()
    def forward(batch: Array) -> Array:
        found = model(torch.from_numpy(batch).to(config.device))
        return np.asarray(found.float().cpu().numpy(), np.float32)

    return forward
