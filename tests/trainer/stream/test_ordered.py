import numpy as np
import pytest
import torch

from pipeline.format.errors import HeadraceError
from pipeline.format.images import decode
from pipeline.format.shards import of_snapshot
from trainer.stream.augment import evaluation_view
from trainer.stream.ordered import PADDING, ordered
from trainer.stream.source import Source


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 30])
@pytest.mark.parametrize("batch", [1, 4, 7, 23, 100])
def test_every_sample_comes_once_and_all_ranks_get_as_many_batches(web, ranks, batch):
    shares = [
        list(ordered(Source("v", of_snapshot(web)), 4, batch, rank, ranks)) for rank in range(ranks)
    ]
    assert {len(share) for share in shares} == {-(-23 // (batch * ranks))}
    batches = [one for share in shares for one in share]
    assert all(len(one.images) == len(one.keys) == batch for one in batches)
    samples = torch.cat([one.samples for one in batches])
    assert sorted(samples[samples != PADDING].tolist()) == list(range(23))


def test_padding_is_black_and_marked_and_stands_last(web):
    batches = list(ordered(Source("v", of_snapshot(web)), 8, 10))
    last = batches[-1]
    assert last.samples.tolist() == [20, 21, 22] + [PADDING] * 7
    assert (last.images[3:] == 0).all()
    assert (last.images[:3] != 0).flatten(1).any(dim=1).all()
    assert last.keys[3:] == [""] * 7
    assert all((one.samples != PADDING).all() for one in batches[:-1])


def test_images_are_the_evaluation_views_in_shard_order(web, pictures):
    batches = list(ordered(Source("v", of_snapshot(web)), 16, 6))
    for number, picture in enumerate(pictures[:23]):
        batch, at = divmod(number, 6)
        assert batches[batch].keys[at] == picture.key
        assert batches[batch].captions[at] == picture.text.decode()
        view = evaluation_view(decode(picture.image), 16)
        np.testing.assert_array_equal(batches[batch].images[at].permute(1, 2, 0).numpy(), view)
    assert [one.step for one in batches] == [0, 1, 2, 3]


def test_a_damaged_sample_fails_and_is_named(tmp_path, make_snapshot, pictures):
    snapshot = make_snapshot(tmp_path, pictures, [3, 3])
    tar = tmp_path / snapshot.shards[1].path
    broken = pictures[4].image
    tar.write_bytes(tar.read_bytes().replace(broken, bytes(len(broken))))
    with pytest.raises(HeadraceError, match=rf"sample 4 \({pictures[4].key}\)"):
        list(ordered(Source("v", of_snapshot(snapshot)), 8, 2))
