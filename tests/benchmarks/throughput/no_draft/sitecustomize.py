"""Laid over headrace's environment by PYTHONPATH: Pillow without JPEG's draft mode.

Python imports a `sitecustomize` at every start, so Ray's workers have it too. One that the
environment had before is run first.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
spec = PathFinder.find_spec("sitecustomize", [p for p in sys.path if Path(p).resolve() != HERE])
if spec and spec.loader:
    spec.loader.exec_module(module_from_spec(spec))

from PIL.JpegImagePlugin import JpegImageFile  # noqa: E402

del JpegImageFile.draft  # what is left is Image.draft, which does nothing
