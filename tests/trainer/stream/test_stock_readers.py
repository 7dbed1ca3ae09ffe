"""The shards as others read them: no index, no manifest, no code of ours."""

import pytest
import webdataset

from pipeline.format.shards import of_snapshot
from trainer.stream.source import Source


@pytest.fixture(scope="module")
def urls(web):
    folder = web.dataset.removeprefix("file://")
    return [f"{folder}/{shard.path}" for shard in web.shards]


def test_webdataset_reads_the_keys_and_captions_that_the_stream_does(web, urls):
    records = Source("web", of_snapshot(web)).records(0, 23)
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [record.key for record in records]
    assert [sample["txt"] for sample in samples] == [record.text for record in records]


def test_a_pipeline_as_open_clip_builds_it_reads_every_pair(web, urls):
    """open_clip_train.data.get_wds_dataset: split, untar, decode, rename, to_tuple, batch."""
    pipeline = webdataset.DataPipeline(
        webdataset.SimpleShardList(urls),
        webdataset.split_by_node,
        webdataset.split_by_worker,
        webdataset.tarfile_to_samples(),
        webdataset.select(
            lambda sample: "txt" in sample and {"png", "jpg", "jpeg", "webp"} & sample.keys()
        ),
        webdataset.decode("pilrgb"),
        webdataset.rename(image="jpg;png;jpeg;webp", text="txt"),
        webdataset.map_dict(image=lambda image: image.size),
        webdataset.to_tuple("image", "text", "__key__"),
        webdataset.batched(10, partial=True),
    )
    batches = list(pipeline)
    assert [len(keys) for _, _, keys in batches] == [10, 10, 3]
    records = Source("web", of_snapshot(web)).records(0, 23)
    assert [key for _, _, keys in batches for key in keys] == [record.key for record in records]
    texts = [text for _, batch, _ in batches for text in batch]
    assert texts == [record.text.decode() for record in records]
