"""What open_clip itself knows about an architecture: its config, its tags, its activation."""

from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pipeline.clip.hub import fetched
from pipeline.clip.refusal import refusal

QUICK = "-quickgelu"
"""Ends the names of architectures with the activation of OpenAI's weights: x * sigmoid(1.702 x)."""


def listed(name: str) -> str:
    """The name under which open_clip lists it: OpenAI's `ViT-B/32` is `ViT-B-32` there."""
    return name.replace("/", "-")


def model_cfg(name: str, field: str) -> dict[str, Any]:
    """open_clip's `model_cfg` of an architecture. Raises HeadraceError if it has none so named."""
    import open_clip

    found: dict[str, Any] | None = open_clip.get_model_config(listed(name))
    if found is None:
        near = get_close_matches(listed(name), open_clip.list_models(), n=3)
        advice = f"did you mean {' or '.join(near)}?" if near else "see open_clip.list_models()"
        raise refusal(field, name, f"open_clip knows no such architecture; {advice}")
    return found


def preprocess_cfg(name: str, pretrained: str | None) -> dict[str, Any]:
    """How images are made ready for these weights, but for their size, which is the model's."""
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    merged: dict[str, Any] = merge_preprocess_dict(asdict(PreprocessCfg()), _tag(name, pretrained))
    return {key: value for key, value in merged.items() if key != "size"}


def weights(name: str, pretrained: str | None, field: str) -> Path:
    """The file of `pretrained`: a tag's, fetched to this machine's cache if need be, or a path.

    Raises HeadraceError if there is none, or if the architecture has not the tag's activation.
    """
    import open_clip
    from open_clip.constants import HF_WEIGHTS_NAME

    config, tag = model_cfg(name, field), _tag(name, pretrained)
    if not pretrained:
        raise refusal(
            field,
            name,
            "an architecture alone names no weights; give `pretrained`, a checkpoint file or a "
            "tag of open_clip, or name a local-dir:FOLDER or hf-hub:ORG/NAME",
        )
    if tag.get("quick_gelu"):  # where a tag says nothing, the architecture is right by itself
        check_activation(name, config, True, field)
    if tag:
        repo, _, file = tag["hf_hub"].rpartition("/")
        return fetched(repo, file or HF_WEIGHTS_NAME, field, name)
    if not Path(pretrained).is_file():
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(listed(name))) or "none"
        raise refusal(field, name, f"no file {pretrained!r}, and no such tag; its tags: {tags}")
    return Path(pretrained)


def check_activation(name: str, config: dict[str, Any], quick: bool, field: str) -> None:
    """Raises HeadraceError where weights want the other GELU: they load, and score worse."""
    import open_clip

    if config.get("quick_gelu", False) == quick:
        return
    other = listed(name) + QUICK if quick else listed(name).removesuffix(QUICK)
    known = other if other in open_clip.list_models() else "another architecture"
    theirs = "QuickGELU" if quick else "GELU"
    raise refusal(field, name, f"these weights were trained with {theirs}; take {known}")


def _tag(name: str, pretrained: str | None) -> dict[str, Any]:
    import open_clip

    found = open_clip.get_pretrained_cfg(listed(name), pretrained) if pretrained else None
    return dict(found or {})
