"""What a filter is trained on, augmentation off, is what scoring will show it."""

from dataclasses import replace

import torch

from pipeline.clip.opening import new_model
from pipeline.format.images import decode
from tests.trainer.contrastive import dense
from tests.trainer.contrastive.models import VIT
from trainer.contrastive.config import FilterConfig
from trainer.contrastive.export import PREPROCESS
from trainer.pixels import normalise


def test_a_whole_image_is_what_open_clip_makes_of_it_for_an_exported_filter_to_the_bit(
    filter_config, pictures
):
    stream = filter_config["stream"] | {"augment": {"whole": True, "flip": False}}
    config = FilterConfig.model_validate(filter_config | {"stream": stream})
    opened = new_model(VIT, 0, "model")
    opened = replace(opened, preprocess_cfg=opened.preprocess_cfg | PREPROCESS)
    batch = dense.first_batch(config)
    mean, std = (opened.preprocess_cfg[key] for key in ("mean", "std"))
    pixels = normalise(batch.images, torch.device("cpu"), mean, std)
    images = {picture.key: decode(picture.image) for picture in pictures}
    assert len({images[key].size for key in batch.keys}) > 1
    for found, key in zip(pixels, batch.keys, strict=True):
        assert torch.equal(found, opened.preprocess(images[key])), key
