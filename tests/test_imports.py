"""Imports point one way: jobs → pipeline, jobs → trainer; and a trainer needs little."""

import ast
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLAN = ("keyed", "order", "mixing", "plan", "digest")


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, and of what it takes from them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


def package(name: str) -> str:
    return name.partition(".")[0]


def of_filters(path: Path) -> bool:
    return ROOT / "trainer" / "contrastive" in path.parents


def run(code: str) -> str:
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("path", files("trainer"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_trainer_imports_nothing_of_the_pipeline_but_its_format(path):
    """But what trains filters, which the pipeline opens and judges: they are one filter to both."""
    more = ("pipeline.clip.", "pipeline.assess.") if of_filters(path) else ()
    ours = {name for name in imported(path) if package(name) in ("pipeline", "jobs")}
    assert all(name.startswith(("pipeline.format.", *more)) for name in ours), ours


def test_the_pipeline_and_its_format_import_nothing_that_is_built_on_them():
    for path in files("pipeline"):
        assert not {"trainer", "jobs"} & {package(name) for name in imported(path)}, path
    for path in files("pipeline/format"):
        ours = {name for name in imported(path) if package(name) == "pipeline"}
        assert all(name.startswith("pipeline.format") for name in ours), path


def test_only_the_training_of_filters_imports_open_clip():
    users = [path for path in files("trainer") if "open_clip" in map(package, imported(path))]
    assert users
    assert all(map(of_filters, users)), users


def test_what_opens_filters_imports_nothing_of_the_pipeline_but_its_format():
    for path in files("pipeline/clip"):
        ours = {name for name in imported(path) if package(name) == "pipeline"}
        assert all(name.startswith(("pipeline.format.", "pipeline.clip.")) for name in ours), path


def test_the_plan_of_a_run_needs_only_the_standard_library_and_numpy():
    allowed = {*sys.stdlib_module_names, "numpy", "trainer"}
    for name in PLAN:
        modules = imported(ROOT / "trainer" / "stream" / f"{name}.py")
        assert {package(module) for module in modules} <= allowed, name
        ours = {module for module in modules if package(module) == "trainer"}
        assert all(module.split(".")[2] in PLAN for module in ours), name


def test_a_trainer_is_imported_without_ray_s3fs_open_clip_and_webdataset():
    run(
        "import sys\n"
        "for name in ('ray', 's3fs', 'open_clip', 'webdataset', 'pdqhash'):\n"
        "    sys.modules[name] = None\n"
        "import trainer.train, trainer.stream.stream, trainer.stream.ordered, trainer.__main__\n"
    )


def test_reading_an_index_does_not_import_pandas(tmp_path):
    """It takes half a second, of each process, and is there with Ray."""
    tar = tmp_path / "0.tar"
    with tarfile.open(tar, "w") as archive:
        archive.addfile(tarfile.TarInfo("0.jpg"))
    run(
        "import sys\n"
        "from pipeline.format.shards import read_index\n"
        "from pipeline.format.tarset import tar_set\n"
        f"read_index(tar_set({str(tar)!r}, {str(tmp_path)!r}), 0).part(0, 1)\n"  # scans it
        "sys.modules.pop('pandas', None)\n"
        f"read_index(tar_set({str(tar)!r}, {str(tmp_path)!r}), 0).part(0, 1)\n"
        "assert 'pandas' not in sys.modules\n"
    )


def test_importing_the_whole_pipeline_does_not_start_ray():
    out = run(
        "import importlib, pkgutil, sys\n"
        "import pipeline\n"
        "for module in pkgutil.walk_packages(pipeline.__path__, 'pipeline.'):\n"
        "    importlib.import_module(module.name)\n"
        "    print(module.name)\n"
        "ray = sys.modules.get('ray')\n"
        "assert ray is None or not ray.is_initialized()\n"
    )
    assert "pipeline.write.publish" in out
