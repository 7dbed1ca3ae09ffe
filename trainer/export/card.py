"""The model card of an export: README.md. A pure function of its record."""

from collections.abc import Mapping, Sequence

from trainer.export.names import Origin, is_backbone
from trainer.export.record import Record, Training
from trainer.model.sizes import SIZES, ModelConfig
from trainer.pixels import DEVIATION, MEAN

RELEASE_EPS = 1e-6
"""Of every LayerNorm in apple/ml-aim, aim-v1/aim/v1/torch/layers.py."""

PROBED = 6
"""Blocks that ml-aim's probe reads by default, and asserts to be there."""

_CAME_FROM: dict[Origin, str] = {
    "headrace": "Imported from other weights under headrace's names.",
    "ml-aim": (
        "Imported from weights under the names of Apple's release (apple/ml-aim); their license "
        "goes with them."
    ),
    "ml-l3m": (
        "Imported from a checkpoint under the names of Apple's training code (apple/ml-l3m); its "
        "license goes with it."
    ),
}


def card(record: Record, sizes: Mapping[str, int]) -> str:
    """Markdown. `sizes` is the number of values of each parameter, by our names."""
    parts = [
        _head(record),
        _shape(record, sizes),
        _training(record.training) if record.training else _CAME_FROM[record.origin],
        _limits(record),
        _loading(record),
    ]
    return "\n\n".join(parts) + "\n"


def name_of(config: ModelConfig) -> str:
    """The named size whose trunk this is, or its width and depth."""
    trunk = ("image_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio")
    for name, size in SIZES.items():
        if all(getattr(size, field) == getattr(config, field) for field in trunk):
            return name
    return f"AIM of width {config.embed_dim} and {config.depth} blocks"


def _head(record: Record) -> str:
    return (
        "---\nlibrary_name: headrace\npipeline_tag: image-feature-extraction\n"
        f"tags: [aim, autoregressive]\n---\n# {name_of(record.model)}\n\n"
        "An image model pre-trained to predict the next patch (El-Nouby et al., arXiv 2401.08541), "
        f"exported by headrace {record.headrace or '(not installed)'}. Weights are {record.dtype}."
    )


def _shape(record: Record, sizes: Mapping[str, int]) -> str:
    m = record.model
    embed = sum(n for name, n in sizes.items() if name.startswith("preprocessor.patchifier."))
    kept = sum(n for name, n in sizes.items() if is_backbone(name))
    head = sum(sizes.values()) - kept
    rows = [
        (
            "image",
            f"{m.image_size} x {m.image_size}, patches of {m.patch_size}: K = {m.num_patches}",
        ),
        ("trunk", f"{m.depth} blocks of width {m.embed_dim}, {m.num_heads} heads"),
        ("parameters kept", f"{kept:,}: patch embedding {embed:,}, trunk {kept - embed:,}"),
        ("pixel head", f"{m.head_kind}, {head:,} parameters" if head else "not in this export"),
        ("predicted per patch", f"{record.outputs} values"),
        ("order of patches", record.order),
        ("LayerNorm epsilon", f"{m.norm_eps:g}"),
        ("pixels", f"RGB from 0 to 1, less mean {MEAN}, over deviation {DEVIATION}"),
    ]
    return _table(("", ""), rows)


def _training(t: Training) -> str:
    lines = [
        "## Training\n",
        f"{t.step:,} of {t.steps:,} steps; {t.images:,} images drawn by this run, repeats counted.",
        f"Digest of all that was delivered: `{t.digest}`.",
    ]
    if t.parent:
        lines.append(
            f"It went on from step {t.parent['step']:,} of a run that was fed "
            f"`{t.parent['digest']}`."
        )
    if t.mixture:
        lines.append(f"Mixture: `{t.mixture}`.")
    if t.objective:
        lines.append(f"Objective: {_objective(t)}.")
    rows = [
        (f"`{name}`", f"{s.share:.2%}", f"{s.samples:,}", f"{s.drawn:,}", f"`{s.shards}`")
        for name, s in t.sources.items()
    ]
    table = _table(("source", "share", "images", "drawn", "id of its shards"), rows)
    return "\n".join(lines) + f"\n\n{table}\n\n" + _validation(t)


def _objective(t: Training) -> str:
    fields = {k: v for k, v in t.objective.items() if v is not None}
    fields["target"] = fields.get("target", {}).get("kind")
    return ", ".join(f"{name} {value}" for name, value in fields.items() if value)


def _validation(t: Training) -> str:
    if t.validation is None:
        return "No validation loss was taken."
    losses = {form: loss for form, loss in t.validation.items() if isinstance(loss, float)}
    rows = [(form, f"{loss:.6f}") for form, loss in losses.items()]
    head = (f"validation loss at step {t.validation['step']:,}", "")
    return _table(head, rows)


def _limits(record: Record) -> str:
    lines = [
        "## Use and limits\n",
        "- Made for frozen features: let every patch see all others (prefix = K), take the mean of "
        "some of the middle blocks' outputs, and train an attentive probe on it (AIM §5). Nothing "
        "here classifies by itself.",
        "- It has learnt what its data holds, biases and mistakes too, and was tested for none of "
        "them. Do not identify people with it, or decide about them.",
        f"- Images of {record.model.image_size} pixels only; other sizes were not trained.",
    ]
    if record.order != "raster":
        lines.append(
            f"- Patches were read in {record.order} order. With full attention the order changes "
            "no patch's features; with causal or prefix attention only headrace reproduces it."
        )
    if record.dtype == "bfloat16":
        lines.append("- The weights were rounded to bfloat16; training cannot go on from them.")
    return "\n".join(lines)


def _loading(record: Record) -> str:
    return f"""## Loading

In headrace (patches in the order above, `prefix` a tensor of K for each image):

```python
from trainer.export.read import read

model = read("FOLDER").model
features = model.features(images, prefix)
```

In Apple's reference code:

```python
import torch
from aim.v1.torch.models import AIM, _aim
from safetensors.torch import load_file

model = AIM(*_aim({_their_arguments(record.model)}))
missing, unexpected = model.load_state_dict(load_file("backbone.safetensors"), strict=False)
assert not unexpected
assert all(name.startswith("head.") for name in missing)  # their probe: yet to be trained
{_their_eps(record.model)}features = model.extract_features(images)  # of every block
```"""


def _their_arguments(m: ModelConfig) -> str:
    words = [
        f"img_size={m.image_size}",
        f"patch_size={m.patch_size}",
        f"embed_dim={m.embed_dim}",
        f"num_blocks={m.depth}",
        f"num_heads={m.num_heads}",
    ]
    words += [f"mlp_ratio={m.mlp_ratio}"] if m.mlp_ratio != 4 else []
    words += [f"probe_layers={m.depth}"] if m.depth < PROBED else []
    return ", ".join(words)


def _their_eps(m: ModelConfig) -> str:
    if m.norm_eps == RELEASE_EPS:
        return ""
    return (
        "for module in model.modules():\n"
        "    if isinstance(module, torch.nn.LayerNorm):\n"
        f"        module.eps = {m.norm_eps:g}  # theirs is {RELEASE_EPS:g}\n"
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
