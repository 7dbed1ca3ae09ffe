import json

import open_clip
import pytest
from open_clip import factory

from tests.pipeline.clip.making import TINY


@pytest.fixture(scope="session", autouse=True)
def architectures(tmp_path_factory):
    """`tiny` and `tiny-quickgelu`, known to open_clip by name, until the tests end."""
    folder = tmp_path_factory.mktemp("architectures")
    for name, quick in (("tiny", False), ("tiny-quickgelu", True)):
        (folder / f"{name}.json").write_text(json.dumps({**TINY, "quick_gelu": quick}))
    open_clip.add_model_config(folder)
    yield
    factory._MODEL_CONFIG_PATHS.remove(folder)
    for name in ("tiny", "tiny-quickgelu"):
        del factory._MODEL_CONFIGS[name]
