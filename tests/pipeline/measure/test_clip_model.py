"""Scores of a tiny open_clip model: the same bits whoever asks, null where there is no image."""

import json
import math
import os
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pipeline import ledger
from pipeline.format.errors import HeadraceError
from pipeline.measure import batches
from pipeline.measure.clip import (
    BFLOAT16_TOLERANCE,
    LOCAL,
    ClipConfig,
    PairsConfig,
    fingerprint,
    weights_digest,
)
from pipeline.measure.clip_model import ClipScorer, PairScorer
from pipeline.measure.image import ImageConfig, measure_part
from pipeline.pool.source import SourceConfig, parts
from tests.pipeline.making import encode, picture, png, tar_part

IMAGES = ImageConfig()
MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {
        "context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2
    },
}  # fmt: skip


def save_model(folder: Path, seed: int = 0) -> str:
    """A randomly initialised model as open_clip keeps one on disk."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**{**MODEL, "quick_gelu": False})
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3}
    config = {"model_cfg": MODEL, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return f"{LOCAL}{folder}"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save_model(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture(scope="module")
def config(model) -> ClipConfig:
    return ClipConfig(model=model, batch=4)


@pytest.fixture(scope="module")
def scorer(config) -> ClipScorer:
    threads = torch.get_num_threads()
    yield ClipScorer(config)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """Eleven samples, two of them bad: two full batches and a part of one."""
    members = {}
    for number in range(11):
        members[f"{number:02d}.png"] = png(number)
        members[f"{number:02d}.txt"] = f"caption {number} of a picture".encode()
    members["01.png"] = b"<html>"
    members["09.png"] = members["09.png"][:300]
    return tar_part(tmp_path_factory.mktemp("part") / "0.tar", members)


BAD = [1, 9]


def test_a_part_has_one_row_for_each_image_and_null_where_it_is_bad(scorer, part):
    table = scorer.score_part(part, IMAGES)
    assert table.schema == ledger.CLIP_SCHEMA
    scores = table["clip_score"].to_pylist()
    embeddings = table["clip_embedding"].to_pylist()
    assert [n for n, score in enumerate(scores) if score is None] == BAD
    assert [n for n, one in enumerate(embeddings) if one is None] == BAD
    assert all(math.isfinite(score) and -1 <= score <= 1 for score in scores if score is not None)
    assert len({score for score in scores if score is not None}) == 9


def test_rows_line_up_with_the_facts_of_the_same_part(scorer, part):
    errors = measure_part(part, IMAGES)["error"].to_pylist()
    scores = scorer.score_part(part, IMAGES)["clip_score"].to_pylist()
    assert [error is not None for error in errors] == [score is None for score in scores]


def test_embeddings_have_unit_length(scorer, part):
    found = scorer.score_part(part, IMAGES)["clip_embedding"].to_pylist()
    lengths = [np.linalg.norm(np.array(one, np.float32)) for one in found if one is not None]
    np.testing.assert_allclose(lengths, 1, atol=2e-3)
    assert {len(one) for one in found if one is not None} == {16}


@torch.inference_mode()
def cosine(scorer: ClipScorer, image: Image.Image, caption: str) -> float:
    """By open_clip's own model, of one pair alone."""
    pixels, tokens = scorer.preprocess(image)[None], scorer.tokenizer([caption])
    found = scorer.model.encode_image(pixels, True) @ scorer.model.encode_text(tokens, True).T
    return found.item()


def test_a_score_is_the_cosine_of_image_and_caption(scorer, part):
    scores = scorer.score_part(part, IMAGES)["clip_score"].to_pylist()
    for number in (0, 4, 10):
        alone = cosine(scorer, picture(number), f"caption {number} of a picture")
        assert scores[number] == pytest.approx(alone, abs=1e-5)


def test_pairs_have_the_same_scores_and_both_embeddings(scorer, model, part):
    table = PairScorer(PairsConfig(model=model, batch=4)).score_part(part, IMAGES)
    assert table.schema == ledger.PAIRS_SCHEMA
    clip = scorer.score_part(part, IMAGES)
    assert table["clip_score"].equals(clip["clip_score"])
    for name in ("image_embedding", "caption_embedding"):
        assert [n for n, one in enumerate(table[name].to_pylist()) if one is None] == BAD
    images, captions = (
        np.array(table[name].drop_null().to_pylist(), np.float32)
        for name in ("image_embedding", "caption_embedding")
    )
    np.testing.assert_allclose(np.linalg.norm(captions, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(
        (images * captions).sum(1), table["clip_score"].drop_null().to_numpy(), atol=1e-6
    )
    rounded = np.array(clip["clip_embedding"].drop_null().to_pylist())
    assert (images.astype(np.float16) == rounded).all()


def test_scores_are_the_same_bits_after_other_parts_and_in_another_scorer(
    scorer, config, part, tmp_path
):
    alone = scorer.score_part(part, IMAGES)
    for number in range(3):
        other = {f"{n}.png": png(100 * number + n, 50, 60) for n in range(1 + 2 * number)}
        scorer.score_part(tar_part(tmp_path / f"{number}.tar", other), IMAGES)
    assert scorer.score_part(part, IMAGES).equals(alone)
    assert ClipScorer(config).score_part(part, IMAGES).equals(alone)


def test_a_bad_neighbour_does_not_change_a_score(scorer, part, tmp_path):
    scores = scorer.score_part(part, IMAGES)["clip_score"].to_pylist()
    members = {}
    for number in range(11):
        members[f"{number:02d}.png"] = png(number) if number in (0, 4, 10) else b"bad"
        members[f"{number:02d}.txt"] = f"caption {number} of a picture".encode()
    again = scorer.score_part(tar_part(tmp_path / "1.tar", members), IMAGES)[
        "clip_score"
    ].to_pylist()
    assert [again[n] for n in (0, 4, 10)] == [scores[n] for n in (0, 4, 10)]


def test_parts_without_a_good_image_or_without_any_have_their_rows(scorer, tmp_path):
    bad = tar_part(tmp_path / "bad.tar", {f"{n}.png": b"<html>" for n in range(6)})
    assert (
        scorer.score_part(bad, IMAGES).to_pylist()
        == [{"clip_score": None, "clip_embedding": None}] * 6
    )
    none = tar_part(tmp_path / "none.tar", bytes(1024))
    assert scorer.score_part(none, IMAGES) == ledger.CLIP_SCHEMA.empty_table()


def test_an_image_over_the_limits_has_no_score(scorer, tmp_path):
    part = tar_part(tmp_path / "0.tar", {"a.png": png(1, 100, 100), "b.png": png(1, 50, 50)})
    scores = scorer.score_part(part, ImageConfig(max_pixels=5000))["clip_score"].to_pylist()
    assert [score is None for score in scores] == [True, False]


@pytest.mark.parametrize("caption", ["", "word " * 500, "\x00 \ufffd 😀", "<start_of_text>"])
def test_any_caption_gets_a_score(scorer, tmp_path, caption):
    part = tar_part(tmp_path / "0.tar", {"a.png": png(1), "a.txt": caption.encode()})
    assert math.isfinite(scorer.score_part(part, IMAGES)["clip_score"].to_pylist()[0])


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (3, 20_000)])
def test_a_hair_thin_strip_is_scored_without_blowing_it_up(scorer, tmp_path, monkeypatch, size):
    made = []
    resize = Image.Image.resize

    def counted(image, size, *rest, **options):
        made.append(size[0] * size[1])
        return resize(image, size, *rest, **options)

    monkeypatch.setattr(Image.Image, "resize", counted)
    part = tar_part(tmp_path / "0.tar", {"a.png": encode(Image.new("RGB", size, "red"))})
    assert math.isfinite(scorer.score_part(part, IMAGES)["clip_score"].to_pylist()[0])
    assert 32 * 32 <= max(made) <= 64 * 32 * 32


def test_a_picture_of_any_common_shape_is_scored_whole(scorer, tmp_path):
    for number, size in enumerate([(96, 72), (20, 200), (500, 8)]):
        part = tar_part(tmp_path / f"{number}.tar", {"a.png": png(7, *size), "a.txt": b"words"})
        alone = cosine(scorer, picture(7, *size), "words")
        assert scorer.score_part(part, IMAGES)["clip_score"].to_pylist() == pytest.approx(
            [alone], abs=1e-6
        )


def test_a_missing_model_is_refused_and_the_field_named(tmp_path):
    config = ClipConfig(model=f"{LOCAL}{tmp_path}/nowhere")
    with pytest.raises(
        HeadraceError, match=r"measure\.clip\.model 'local-dir:.*nowhere' cannot be"
    ):
        ClipScorer(config)


def test_an_unknown_architecture_is_refused_and_the_field_named():
    with pytest.raises(HeadraceError, match=r"measure\.clip\.model 'ViT-Z-99' cannot be loaded"):
        ClipScorer(ClipConfig(model="ViT-Z-99"))


def test_a_model_whose_weights_are_damaged_is_refused(tmp_path):
    name = save_model(tmp_path / "model")
    weights = tmp_path / "model" / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(HeadraceError, match=r"measure\.clip\.model .* cannot be loaded"):
        ClipScorer(ClipConfig(model=name))


class Attack:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["weights.pt", "weights.bin", "weights.npy", "weights.npz"])
def test_code_in_a_checkpoint_is_not_run(name, tmp_path):
    trace, file = tmp_path / "it-ran", tmp_path / name
    if name.endswith(".npy"):
        np.save(file, np.array([Attack(trace)], object))
    elif name.endswith(".npz"):
        np.savez(file, weights=np.array([Attack(trace)], object))
    else:
        torch.save({"state_dict": Attack(trace)}, file)
    with pytest.raises(HeadraceError, match=r"measure\.clip\.model 'ViT-S-32-alt' cannot be"):
        ClipScorer(ClipConfig(model="ViT-S-32-alt", pretrained=str(file)))
    assert not trace.exists()


def test_code_in_the_weights_of_a_folder_is_not_run(tmp_path):
    name = save_model(tmp_path / "model")
    (tmp_path / "model" / "open_clip_model.safetensors").unlink()
    trace = tmp_path / "it-ran"
    torch.save(Attack(trace), tmp_path / "model" / "open_clip_pytorch_model.bin")
    with pytest.raises(HeadraceError, match=r"measure\.clip\.model .* cannot be loaded"):
        ClipScorer(ClipConfig(model=name))
    assert not trace.exists()


def test_the_reason_of_a_bad_model_is_one_line(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(HeadraceError) as caught:
        ClipScorer(ClipConfig(model="ViT-S-32-alt", pretrained=str(tmp_path / "w.pt")))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_rows_told_to_be_bad_are_not_decoded_and_move_no_other(scorer, part, monkeypatch):
    scores = scorer.score_part(part, IMAGES)["clip_score"].to_pylist()
    decoded = []
    decode = batches.decode

    def watched(data, max_pixels):
        decoded.append(data)
        return decode(data, max_pixels)

    monkeypatch.setattr(batches, "decode", watched)
    again = scorer.score_part(part, IMAGES, frozenset({*BAD, 0, 6}))["clip_score"].to_pylist()
    assert again == [None if n in (*BAD, 0, 6) else score for n, score in enumerate(scores)]
    assert len(decoded) == 7


def test_the_fingerprint_follows_what_scores_depend_on(model, tmp_path):
    base = ClipConfig(model=model)
    other = save_model(tmp_path / "other", seed=1)
    changed = [
        base.model_copy(update=update)
        for update in (
            {"batch": 3},
            {"threads": 2},
            {"device": "cuda"},
            {"model": other},
            {"precision": "bfloat16"},
        )
    ]
    marks = [fingerprint(config, IMAGES) for config in [base, *changed]]
    marks += [
        fingerprint(base, ImageConfig(max_pixels=9)),
        fingerprint(base, ImageConfig(max_bytes=9)),
    ]
    assert len(set(marks)) == 8


def test_the_fingerprint_does_not_follow_the_folder_of_the_model(model, tmp_path):
    moved = save_model(tmp_path / "moved", seed=0)
    assert moved != model
    assert fingerprint(ClipConfig(model=moved), IMAGES) == fingerprint(
        ClipConfig(model=model), IMAGES
    )


def test_scores_in_float32_are_named_as_before_there_was_a_choice(model):
    config = ClipConfig(model=model)
    settings = {"batch": 64, "device": "cpu", "threads": 1, **IMAGES.model_dump()}
    known = settings | {"weights": weights_digest(config)}
    assert fingerprint(config, IMAGES) == ledger.fingerprint("clip", 1, known)


def test_half_precision_is_refused_on_a_processor(model):
    with pytest.raises(ValueError, match="float16 needs device cuda"):
        ClipConfig(model=model, precision="float16")
    assert ClipConfig(model=model, precision="float16", device="cuda").precision == "float16"


@pytest.fixture(scope="module")
def gap(model, demo_data):
    """The most by which a scorer's scores of some real pictures differ from those in float32."""
    (part,) = parts((SourceConfig(url=str(sorted((demo_data / "pool").glob("*.tar"))[0])),))

    def scores(scorer: ClipScorer) -> np.ndarray:
        return scorer.score_part(part, IMAGES)["clip_score"].drop_null().to_numpy()

    exact = scores(ClipScorer(ClipConfig(model=model)))
    assert len(exact) > 100
    return lambda scorer: np.abs(scores(scorer) - exact).max()


def test_bfloat16_differs_from_float32_by_no_more_than_is_told(model, gap):
    scorer = ClipScorer(ClipConfig(model=model, precision="bfloat16"))
    assert 0 < gap(scorer) < BFLOAT16_TOLERANCE


def test_coarser_numbers_than_bfloat16_are_beyond_what_is_told(model, gap):
    scorer = ClipScorer(ClipConfig(model=model))
    for weights in scorer.model.parameters():
        weights.data = weights.data.to(torch.float8_e4m3fn).float()
    assert gap(scorer) > BFLOAT16_TOLERANCE
