import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.format.images import decode
from pipeline.format.shards import of_snapshot
from trainer import distributed
from trainer.config import TrainConfig
from trainer.distributed import World
from trainer.model.aim import AIM
from trainer.model.sizes import ModelConfig
from trainer.objective import loss_sum_and_count
from trainer.pictures import SCALE
from trainer.pixels import normalise
from trainer.stream.augment import evaluation_view
from trainer.stream.plan import prefix_lengths
from trainer.stream.source import Source
from trainer.validation import PICTURED, SEED, Validation

CPU = torch.device("cpu")
CONFIG = ModelConfig(
    image_size=12, patch_size=3, embed_dim=16, depth=1, num_heads=2, head_width=8, head_depth=1
)
K = CONFIG.num_patches


@pytest.fixture(scope="module")
def model():
    tiny = AIM(CONFIG)
    generator = torch.Generator().manual_seed(1)
    for parameter in tiny.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return tiny


def validation(web, world, batch):
    return Validation(Source("validation", of_snapshot(web)), world, batch, CONFIG.image_size)


def sums_of(web, model, monkeypatch, rank, ranks, batch):
    """Loss sum and count of both forms on one rank, before they are added up."""
    seen = []
    monkeypatch.setattr(distributed, "total", lambda value: seen.append(value) or value)
    validation(web, World(rank, ranks, CPU), batch).losses(model)
    return seen[0]


@torch.no_grad()
def literal_losses(web, model, prefix_of):
    loss, count = 0.0, 0
    for record in Source("validation", of_snapshot(web)).records(0, 23):
        view = torch.from_numpy(evaluation_view(decode(record.image), 12).copy()).permute(2, 0, 1)
        image, prefix = normalise(view[None], CPU), torch.tensor([prefix_of(record.sample)])
        one, counted = loss_sum_and_count(model(image, prefix), image, prefix)
        loss, count = loss + one.item(), count + counted.item()
    return loss / count


def fixed_prefix(sample):
    return int(prefix_lengths(SEED, 0, np.array([sample]), np.array([0]), K)[0])


@pytest.mark.parametrize("batch", [1, 7, 23, 100])
def test_the_losses_are_those_of_one_image_after_the_other_whatever_the_batch(
    world, web, model, batch
):
    losses = validation(web, world, batch).losses(model)
    assert losses["causal"] == pytest.approx(literal_losses(web, model, lambda sample: 1), rel=1e-6)
    assert losses["prefix"] == pytest.approx(literal_losses(web, model, fixed_prefix), rel=1e-6)
    assert losses["causal"] != losses["prefix"]


def test_the_causal_form_counts_every_patch_but_the_first_of_every_image_and_no_padding(
    web, model, monkeypatch
):
    (_, causal), (_, prefix) = sums_of(web, model, monkeypatch, 0, 1, 10).tolist()
    assert causal == 23 * (K - 1)
    assert prefix == sum(K - fixed_prefix(sample) for sample in range(23))


@pytest.mark.parametrize(("ranks", "batch"), [(2, 5), (3, 4), (5, 1), (4, 30)])
def test_the_ranks_sums_add_up_to_those_of_one_rank(web, model, monkeypatch, ranks, batch):
    whole = sums_of(web, model, monkeypatch, 0, 1, 23)
    parts = [sums_of(web, model, monkeypatch, rank, ranks, batch) for rank in range(ranks)]
    torch.testing.assert_close(sum(parts), whole, rtol=1e-6, atol=0)
    assert (sum(parts)[:, 1] == whole[:, 1]).all()


def test_validating_leaves_the_model_training_and_without_gradients(world, web, model):
    model.train()
    validation(web, world, 10).losses(model)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_picture_shows_the_first_images(world, web, model, tmp_path):
    path = tmp_path / "pictures" / "00000000.png"
    validation(web, world, 10).save_picture(model, path)
    with Image.open(path) as picture:
        assert picture.size == (PICTURED * 12 * SCALE, 2 * 12 * SCALE)
        first = Source("validation", of_snapshot(web)).records(0, 1)[0]
        shown = np.asarray(picture)[: 12 * SCALE : SCALE, : 12 * SCALE : SCALE]
        np.testing.assert_array_equal(shown, evaluation_view(decode(first.image), 12))


def test_only_the_first_rank_writes_the_picture(world, web, model, tmp_path):
    path = tmp_path / "00000000.png"
    validation(web, World(1, 2, CPU), 10).save_picture(model, path)
    assert not path.exists()


def configured(url):
    return TrainConfig(
        run="run",
        mixture="mixture.json",
        validation=url,
        model=CONFIG,
        stream={"batch": 24, "lanes": 6, "image_size": 12, "patience": {"first_pause": 0.01}},
        steps=1,
    )


@pytest.mark.parametrize(("ranks", "batch"), [(1, 24), (5, 4), (100, 1)])
def test_ranks_share_the_training_batch(web, ranks, batch):
    opened = Validation.open(configured(web.url), World(0, ranks, CPU))
    assert (opened.batch, opened.image_size, len(opened.source)) == (batch, 12, 23)


def test_a_set_that_cannot_be_had_at_once_is_asked_for_again_as_the_streams_are(web, busy_twice):
    config = configured(web.url)
    opened = Validation.open(config, World(0, 1, CPU))
    assert (len(opened.source), busy_twice) == (23, [])
    assert opened.source.patience == config.stream.patience
