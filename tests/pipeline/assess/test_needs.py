import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

CODE = """
import importlib, pkgutil, sys
import pipeline.assess
for module in pkgutil.iter_modules(pipeline.assess.__path__):
    if module.name != "drift":
        importlib.import_module("pipeline.assess." + module.name)
print(*sorted({"ray", "torch", "pyarrow", "fsspec", "scipy", "open_clip"} & set(sys.modules)))
import pipeline.assess.drift
print(*sorted({"ray", "torch", "scipy", "open_clip"} & set(sys.modules)))
print("numpy" in sys.modules)
"""


def test_numpy_is_all_that_it_needs_but_for_the_tables_of_drift():
    process = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert process.stdout.split("\n")[:3] == ["", "", "True"], process.stderr
