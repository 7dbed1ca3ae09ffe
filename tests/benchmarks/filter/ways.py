"""The ways to score some tars. Each loads what it needs, and returns what is timed.

`pass_over(tars)` goes over all samples of these tars once, and leaves nothing queued on a device.
"""

import argparse
from collections.abc import Callable, Sequence

import open_clip
import torch
from open_clip_train import train, zero_shot
from open_clip_train.data import get_wds_dataset
from open_clip_train.distributed import init_distributed_device
from open_clip_train.params import parse_args
from open_clip_train.precision import get_autocast
from torch import Tensor

from pipeline.format.images import decode
from pipeline.measure.clip import ClipConfig
from pipeline.measure.clip_model import ClipScorer
from pipeline.measure.image import ImageConfig
from pipeline.pool import source
from pipeline.pool.sample import Part
from pipeline.pool.source import SourceConfig

PassOver = Callable[[Sequence[str]], object]

PRECISIONS = {"float32": "fp32", "float16": "amp", "bfloat16": "amp_bfloat16"}
"""By our name, open_clip's."""

LIMITS = ImageConfig()
CLASSES = 1000
"""Columns of the zero-shot classifier, as of ImageNet's."""


def ours(given: argparse.Namespace) -> PassOver:
    """The scorer of `headrace measure`, one part after another."""
    fields = ("model", "batch", "device", "threads", "precision")
    config = ClipConfig(**{name: getattr(given, name) for name in fields})
    scorer = ClipScorer(config, given.decoders)
    if given.images_alone:
        leave_captions_out(scorer.model)

    def pass_over(tars: Sequence[str]) -> None:
        for part in parts(tars):
            scorer.score_part(part, LIMITS)

    return pass_over


def leave_captions_out(clip: torch.nn.Module) -> None:
    """Captions are still read and tokenised, and all get one embedding, which costs nothing."""
    none = torch.zeros(1, clip.context_length, dtype=torch.int64, device=clip.logit_scale.device)
    with torch.inference_mode():
        one = clip.encode_text(none, normalize=True)
    clip.encode_text = lambda tokens, normalize: one.expand(len(tokens), -1)


def open_clips(given: argparse.Namespace) -> PassOver:
    """open_clip's own loops over its own reader of the same tars.

    With captions `evaluate`, but for the figures that it makes at its end, which we don't; images
    alone `zero_shot.run`, which multiplies them with a classifier.
    """
    train.get_clip_metrics, zero_shot.accuracy = lambda **_: {}, accuracy
    model, _, preprocess = open_clip.create_model_and_transforms(
        given.model, device=given.device, output_dict=True
    )
    tokenizer = open_clip.get_tokenizer(given.model)
    classifier = torch.randn(model.text_projection.shape[1], CLASSES, device=given.device)

    def pass_over(tars: Sequence[str]) -> None:
        args = settings(given, tars)
        if given.images_alone:
            data = get_wds_dataset(args, preprocess, False, tokenizer=lambda caption: [0])
            zero_shot.run(model.eval(), classifier, data.dataloader, args)
        else:
            data = get_wds_dataset(args, preprocess, False, tokenizer=tokenizer)
            train.evaluate(model, {"val": data}, 1, args)

    return pass_over


def settings(given: argparse.Namespace, tars: Sequence[str]) -> argparse.Namespace:
    """What its command line would make of these options; the rest is its default."""
    options = {
        "val-data": "::".join(tars),
        "val-num-samples": given.images,
        "batch-size": given.batch,
        "workers": given.workers,
        "precision": PRECISIONS[given.precision],
        "device": given.device,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    args = parse_args(words)
    init_distributed_device(args)
    args.save_logs = args.wandb = False  # as its main sets them without --report-to
    return args


def accuracy(output: Tensor, target: Tensor, topk: Sequence[int]) -> list[float]:
    """open_clip's own, whose last line (3.3.0) raises with numpy 2.4."""
    pred = output.topk(max(topk), 1, True, True)[1].t()
    correct = pred.eq(target.view(1, -1).expand_as(pred))
    return [float(correct[:k].reshape(-1).float().sum()) for k in topk]


def bare(given: argparse.Namespace) -> PassOver:
    """The model on one batch that lies ready on the device, again and again."""
    model, _, _ = open_clip.create_model_and_transforms(given.model, device=given.device)
    model.eval()
    size = model.visual.image_size
    sides = size if isinstance(size, tuple) else (size, size)
    images = torch.rand(given.batch, 3, *sides, device=given.device)
    tokens = open_clip.get_tokenizer(given.model)(["a photograph of a thing"] * given.batch)
    tokens = tokens.to(given.device)

    def pass_over(tars: Sequence[str]) -> None:
        for _ in range(len(tars) * given.images // len(given.tars) // given.batch):
            forward(given, model, images, tokens)
        if given.device == "cuda":
            torch.cuda.synchronize()

    return pass_over


@torch.inference_mode()
def forward(
    given: argparse.Namespace, model: torch.nn.Module, images: Tensor, tokens: Tensor
) -> None:
    """Both towers, or that of the images."""
    autocast = get_autocast(PRECISIONS[given.precision], device_type=given.device)
    with autocast():
        model.encode_image(images, normalize=True)
        if not given.images_alone:
            model.encode_text(tokens, normalize=True)


def decoding(given: argparse.Namespace) -> PassOver:
    """Bytes in memory decoded and resized, and no model: what reading must cost."""
    _, _, preprocess = open_clip.create_model_and_transforms(given.model)
    ready: dict[str, list[bytes]] = {
        tar: [row.image for part in parts([tar]) for row in source.read(part, LIMITS.max_bytes)]
        for tar in given.tars
    }

    def pass_over(tars: Sequence[str]) -> None:
        for tar in tars:
            for data in ready[tar]:
                preprocess(decode(data, LIMITS.max_pixels))

    return pass_over


def parts(tars: Sequence[str]) -> list[Part]:
    """As the scorer takes them."""
    return source.parts(tuple(SourceConfig(url=tar) for tar in tars))


WAYS: dict[str, Callable[[argparse.Namespace], PassOver]] = {
    "ours": ours,
    "open_clip": open_clips,
    "bare": bare,
    "decoding": decoding,
}
