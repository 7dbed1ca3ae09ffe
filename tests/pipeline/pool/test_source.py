"""The formats of a pool: found by name, of one shape, in one order."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from pipeline.pool import source
from pipeline.pool.source import FORMATS, SourceConfig
from tests.pipeline.making import png, tar_of

CLASS = "n02123045"


def test_every_format_that_a_config_may_name_has_a_module():
    named = SourceConfig.model_fields["format"].annotation.__args__
    assert set(named) == set(FORMATS) == {"webdataset", "parquet", "folder", "imagenet"}
    with pytest.raises(ValidationError):
        SourceConfig(url="x", format="zip")


@pytest.fixture
def pool(tmp_path) -> list[SourceConfig]:
    """Two images in each format."""
    images = [png(0, 16, 16), png(1, 16, 16)]
    column = pa.array([{"bytes": data, "path": None} for data in images])
    pq.write_table(pa.table({"image": column}), tmp_path / "b.parquet", row_group_size=1)
    inner = {f"{CLASS}_{number}.JPEG": data for number, data in enumerate(images)}
    (tmp_path / "c.tar").write_bytes(tar_of({f"{CLASS}.tar": tar_of(inner)}))
    (tmp_path / "d.tar").write_bytes(tar_of({"0.png": images[0], "1.png": images[1]}))
    (tmp_path / "a").mkdir()
    for number, data in enumerate(images):
        (tmp_path / "a" / f"{number}.png").write_bytes(data)
    names = {"a": "folder", "b.parquet": "parquet", "c.tar": "imagenet", "d.tar": "webdataset"}
    return [SourceConfig(url=str(tmp_path / name), format=kind) for name, kind in names.items()]


def test_all_formats_give_the_same_images_and_fetch_them_again(pool):
    for config in pool:
        rows = [row for part in source.parts((config,)) for row in source.read(part, 10**6)]
        assert [row.image for row in rows] == [png(0, 16, 16), png(1, 16, 16)], config.format
        for row in rows:
            place = (row.source, row.key, row.offset, row.nbytes)
            assert FORMATS[config.format].fetch(*place) == row.image
        assert len({(row.source, row.key, row.offset) for row in rows}) == 2
        assert all(source.counts(part) == {} for part in source.parts((config,)))


def test_pool_order_does_not_depend_on_the_order_of_the_config(pool):
    found = source.parts(tuple(pool))
    assert [part.format for part in found] == ["folder", "parquet", "imagenet", "webdataset"]
    assert source.parts(tuple(reversed(pool + pool[:2]))) == found
