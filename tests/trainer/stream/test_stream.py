import gc
import itertools
import json
import threading
import time
from collections import Counter
from dataclasses import replace
from math import ceil

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pipeline.format.errors import HeadraceError
from pipeline.format.images import decode
from pipeline.format.mixture import Mixture, Source, mixture_bytes
from trainer.stream import digest
from trainer.stream.augment import TRIES, augment
from trainer.stream.config import StreamConfig
from trainer.stream.keyed import base_key, mix, uniforms
from trainer.stream.opening import UNNAMED
from trainer.stream.stream import Stream

CONFIG = StreamConfig(batch=12, lanes=6, image_size=8, block=2)
STEPS = 9

pytestmark = pytest.mark.timeout(60)  # a stream that hangs must not hold up the others


def deliver(mixture, steps=STEPS, config=CONFIG, rank=0, ranks=1, state=None):
    """The next batches of one rank, and its digest of them."""
    with Stream(mixture, config, rank, ranks) as stream:
        if state is not None:
            stream.load_state_dict(state)
        batches = list(itertools.islice(stream, steps))
        return batches, stream.digest


def join(parts):
    """One batch from those of all ranks at a step."""
    tensors = ("images", "lanes", "slots", "sources", "epochs", "samples")
    lists = ("keys", "captions", "bad")
    return replace(
        parts[0],
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in tensors},
        **{name: [one for part in parts for one in getattr(part, name)] for name in lists},
        digest=digest.total([part.digest for part in parts]),
    )


def deliver_on(mixture, ranks, **options):
    """The same from several ranks, joined step by step, and the sum of their digests."""
    shares = [deliver(mixture, rank=rank, ranks=ranks, **options) for rank in range(ranks)]
    batches = [join(parts) for parts in zip(*(batches for batches, _ in shares), strict=True)]
    return batches, digest.total([one for _, one in shares])


TIMES = {"fetched", "decoded"}


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        for name, value in vars(other).items():
            if name in TIMES:
                continue
            mine = getattr(one, name)
            same = torch.equal(mine, value) if isinstance(value, torch.Tensor) else mine == value
            assert same, f"step {other.step}: {name}"


@pytest.fixture(scope="module")
def undisturbed(mixture):
    """What one rank delivers without a break, and its digest."""
    return deliver(mixture)


@pytest.fixture
def own_mixture(tmp_path, make_snapshot, pictures):
    """A mixture of one snapshot that a test may damage, and its folder."""
    snapshot = make_snapshot(tmp_path, pictures, [7, 6, 5])
    return Mixture((Source("web", snapshot.url, 1, 18),)), tmp_path, snapshot


def test_every_sample_is_delivered_once_an_epoch_under_its_own_key(mixture, pictures):
    batches, _ = deliver(mixture, steps=12)
    keys = {0: pictures[:23], 1: pictures[23:30]}
    delivered = Counter(
        (source, epoch, key)
        for batch in batches
        for source, epoch, key in zip(
            batch.sources.tolist(), batch.epochs.tolist(), batch.keys, strict=True
        )
    )
    assert set(delivered.values()) == {1}
    for source, epochs in ((0, 4), (1, 3)):  # whole after 144 draws at 4 : 1
        for epoch in range(epochs):
            found = {key for s, e, key in delivered if (s, e) == (source, epoch)}
            assert found == {picture.key for picture in keys[source]}, (source, epoch)


def test_every_slot_carries_the_key_and_caption_of_its_planned_sample(undisturbed, pictures):
    for batch in undisturbed[0]:
        numbers = (batch.samples + 23 * batch.sources).tolist()
        assert batch.keys == [pictures[number].key for number in numbers]
        assert batch.captions == [pictures[number].text.decode() for number in numbers]
        assert batch.bad == []


def test_every_image_is_cropped_by_the_key_of_its_own_sample(undisturbed, pictures):
    for batch in undisturbed[0][:3]:
        rows = zip(batch.images, batch.sources, batch.epochs, batch.samples, strict=True)
        for image, source, epoch, sample in rows:
            key = mix(base_key(0, "augment", ["web", "trusted"][source]), int(epoch), int(sample))
            draws = uniforms(key, 1 + 4 * TRIES)[0]
            picture = decode(pictures[sample + 23 * source].image)
            crop = augment(picture, 8, draws, CONFIG.augment)
            np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), crop)


def test_images_are_uint8_and_differ(undisturbed):
    images = torch.cat([batch.images for batch in undisturbed[0]])
    assert images.dtype == torch.uint8
    assert images.shape == (12 * STEPS, 3, 8, 8)
    assert len(images.flatten(1).unique(dim=0)) > 100


def test_every_batch_holds_the_ratio(undisturbed):
    for batch in undisturbed[0]:
        assert (batch.sources == 1).sum() in (2, 3)  # 12 / 5 = 2.4


@pytest.mark.parametrize("ranks", [2, 3, 5, 6])
def test_the_ranks_together_deliver_what_one_does_with_the_same_digest(mixture, undisturbed, ranks):
    batches, total = deliver_on(mixture, ranks)
    assert_same(batches, undisturbed[0])
    assert total == undisturbed[1]


@pytest.mark.parametrize("k", range(STEPS))
def test_a_resume_at_any_step_delivers_the_same_batches(mixture, undisturbed, k):
    with Stream(mixture, CONFIG) as stream:
        batches = list(itertools.islice(stream, k))
        state, before = json.loads(json.dumps(stream.state_dict())), stream.digest
    assert_same(batches, undisturbed[0][:k])
    rest, after = deliver(mixture, STEPS - k, state=state)
    assert_same(rest, undisturbed[0][k:])
    assert digest.total([before, after]) == undisturbed[1]


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 2), (2, 5), (5, 1)])
def test_a_resume_on_another_number_of_ranks_delivers_the_same_batches(
    mixture, undisturbed, before, after
):
    with Stream(mixture, CONFIG, rank=before - 1, world_size=before) as stream:
        list(itertools.islice(stream, 4))
        state = stream.state_dict()
    batches, _ = deliver_on(mixture, after, steps=STEPS - 4, state=state)
    assert_same(batches, undisturbed[0][4:])


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": 1, "read_ahead": 1},
        {"threads": 7},
        {"read_ahead": 9},
        {"reads": 1},
        {"patience": {"deadline": 1}, "cache": {"folder": "x", "max_bytes": 1}, "max_bad": 0},
    ],
)
def test_threads_reading_ahead_and_care_change_no_batch(mixture, undisturbed, changes):
    config = StreamConfig(**CONFIG.model_dump() | changes)
    batches, total = deliver(mixture, config=config)
    assert_same(batches, undisturbed[0])
    assert total == undisturbed[1]
    with Stream(mixture, CONFIG) as one, Stream(mixture, config) as other:
        other.load_state_dict(one.state_dict())  # not refused


def test_reading_ahead_does_not_advance_the_state(mixture):
    with Stream(mixture, CONFIG) as stream:
        batches = iter(stream)
        assert stream.state_dict()["step"] == 0
        for step in range(3):
            assert next(batches).step == step
            assert stream.state_dict()["step"] == step + 1


def test_a_second_iteration_goes_on_where_the_first_stopped(mixture, undisturbed):
    with Stream(mixture, CONFIG) as stream:
        first = list(itertools.islice(stream, 3))
        second = list(itertools.islice(stream, 2))
    assert_same(first + second, undisturbed[0][:5])


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, "seed was 0, now 1"),
        ({"batch": 24}, "batch was 12, now 24"),
        ({"lanes": 4}, "lanes was 6, now 4"),
        ({"image_size": 16}, "image_size was 8, now 16"),
        ({"block": 1}, r"web\.block was 2, now 1"),
        ({"augment": {"flip": False}}, r"augment\.flip was True, now False"),
        ({"augment": {"draft": True}}, r"augment\.draft was False, now True"),
        ({"augment": {"jitter": {}}}, r"augment\.jitter was None, now .*'brightness': 0.4"),
    ],
)
def test_a_resume_under_another_config_is_refused_with_the_difference(mixture, changes, difference):
    other = StreamConfig(**CONFIG.model_dump() | changes)
    with Stream(mixture, CONFIG) as one, Stream(mixture, other) as stream:
        with pytest.raises(HeadraceError, match=difference):
            stream.load_state_dict(one.state_dict())
        assert stream.next_step == 0


def other_weight(mixture):
    web, trusted = mixture.sources
    return Mixture((replace(web, weight=3), trusted))


def other_name(mixture):
    web, trusted = mixture.sources
    return Mixture((replace(web, name="internet"), trusted))


def one_source_less(mixture):
    return Mixture(mixture.sources[:1])


def other_order(mixture):
    return Mixture(mixture.sources[::-1])


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (other_weight, r"source web\.weight was 4, now 3"),
        (other_name, "source internet was absent, now .*source web was .*, now absent"),
        (one_source_less, "source trusted was .*, now absent"),
        (other_order, r"sources was \['web', 'trusted'\], now \['trusted', 'web'\]"),
    ],
)
def test_a_resume_under_another_mixture_is_refused_with_the_difference(mixture, change, difference):
    with Stream(mixture, CONFIG) as stream:
        state = stream.state_dict()
    with (
        Stream(change(mixture), CONFIG) as other,
        pytest.raises(HeadraceError, match=difference),
    ):
        other.load_state_dict(state)


def test_a_resume_on_another_snapshot_is_refused_with_the_difference(
    mixture, tmp_path, own_mixture
):
    web, trusted = mixture.sources
    other = own_mixture[2]
    grown = Mixture((replace(web, snapshot=other.url, samples=other.samples), trusted))
    with Stream(mixture, CONFIG) as stream:
        state = stream.state_dict()
    with (
        Stream(grown, CONFIG) as other,
        pytest.raises(HeadraceError, match=r"source web\.samples was 23, now 18"),
    ):
        other.load_state_dict(state)


def test_a_snapshot_of_the_same_size_is_still_another(mixture, make_snapshot, pictures, tmp_path):
    twin = make_snapshot(tmp_path, pictures[50:], [23])
    web, trusted = mixture.sources
    with Stream(mixture, CONFIG) as stream:
        state = stream.state_dict()
    with (
        Stream(Mixture((replace(web, snapshot=twin.url), trusted)), CONFIG) as other,
        pytest.raises(HeadraceError, match=twin.id),
    ):
        other.load_state_dict(state)


def loose(source):
    """The same shards as if they were tars that may change: their versions are in the state."""
    source.shards = replace(source.shards, indexes="/indexes")


def test_a_state_holds_the_shards_of_no_snapshot(mixture):
    with Stream(mixture, CONFIG) as stream:
        assert stream.state_dict() == {"step": 0, "identity": stream.identity, "shards": {}}


def test_a_shard_that_changed_under_a_resumed_run_is_named(mixture):
    streams = [Stream(mixture, CONFIG) for _ in range(3)]
    with streams[0] as one, streams[1] as other, streams[2] as changed:
        for stream in streams:
            loose(stream._sources[0])
        state = json.loads(json.dumps(one.state_dict()))
        assert {name: len(prints) for name, prints in state["shards"].items()} == {"web": 3 * 16}
        other.load_state_dict(state)
        shards = changed._sources[0].shards
        versions = (shards.versions[0], "rewritten", shards.versions[2])
        changed._sources[0].shards = replace(shards, versions=versions)
        with pytest.raises(HeadraceError, match=rf"another stream: {shards.url(1)} was changed; a"):
            changed.load_state_dict(state)


def test_a_state_from_before_shards_were_in_it_is_refused_by_its_identity(mixture):
    with Stream(mixture, CONFIG) as stream:
        old = {"step": 3, "identity": stream.identity | {"seed": 9}}
        with pytest.raises(HeadraceError, match="seed was 9, now 0"):
            stream.load_state_dict(old)


def test_a_damaged_sample_is_replaced_alike_on_every_run_and_recorded(own_mixture, pictures):
    mixture, folder, snapshot = own_mixture
    expected, total = deliver(mixture, steps=6)
    tar, broken = folder / snapshot.shards[1].path, pictures[9].image
    tar.write_bytes(tar.read_bytes().replace(broken, b"\xff" * len(broken)))
    batches, changed = deliver(mixture, steps=6)
    bad = [one for batch in batches for one in batch.bad]
    assert {(one.source, one.sample, one.key) for one in bad} == {("web", 9, pictures[9].key)}
    assert {one.url for one in bad} == {f"{snapshot.dataset}/{snapshot.shards[1].path}"}
    assert {one.kind for one in bad} == {"not_an_image"}
    assert {one.instead for one in bad} <= {p.key for p in pictures[:18]} - {pictures[9].key}
    assert len(bad) == 4  # 72 draws are 4 epochs
    assert changed != total, "the digest is of what was delivered"
    for before, after in zip(expected, batches, strict=True):
        hit = after.samples == 9
        assert torch.equal(before.samples, after.samples)
        assert torch.equal(before.images[~hit], after.images[~hit])
        delivered = [key for key, is_hit in zip(after.keys, hit, strict=True) if is_hit]
        assert delivered == [one.instead for one in after.bad]
    assert_same(deliver(mixture, steps=6)[0], batches)
    on_three, total_of_three = deliver_on(mixture, 3, steps=6)
    assert_same(on_three, batches)
    assert total_of_three == changed


def test_a_missing_shard_fails_naming_it_and_the_stream_still_closes(own_mixture):
    mixture, folder, snapshot = own_mixture
    gone = snapshot.shards[2].path
    (folder / gone).unlink()
    with pytest.raises(HeadraceError, match=gone), Stream(mixture, CONFIG) as stream:
        list(itertools.islice(stream, STEPS))


def test_a_shard_that_vanishes_under_way_is_never_skipped(own_mixture):
    mixture, folder, snapshot = own_mixture
    expected, _ = deliver(mixture, steps=6)
    got = []
    with Stream(mixture, CONFIG.model_copy(update={"read_ahead": 1})) as stream:
        batches = iter(stream)
        got.append(next(batches))
        (folder / snapshot.shards[0].path).unlink()
        with pytest.raises(HeadraceError, match=snapshot.shards[0].path):
            got.extend(itertools.islice(batches, 5))
        assert stream.state_dict()["step"] == len(got)
    assert_same(got, expected[: len(got)])


def test_leaving_the_stream_in_the_middle_does_not_hang(mixture):
    with Stream(mixture, CONFIG.model_copy(update={"read_ahead": 50})) as stream:
        next(iter(stream))


def test_more_ranks_than_lanes_are_refused(mixture):
    with pytest.raises(HeadraceError, match="6 lanes cannot feed 7 ranks"):
        Stream(mixture, CONFIG, rank=0, world_size=7)


def test_a_batch_that_lanes_do_not_share_is_refused():
    with pytest.raises(ValidationError, match="batch 12 is not a multiple of lanes 5"):
        StreamConfig(batch=12, lanes=5, image_size=8)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("patience", {"deadline": 0}, "deadline must be above 0 seconds"),
        ("patience", {"tries": 3}, r"patience\.tries"),
        ("cache", {"folder": "/cache"}, r"cache\.max_bytes"),
        ("cache", {"folder": "", "max_bytes": 1}, r"cache\.folder"),
        ("max_bad", 1.5, "max_bad"),
    ],
)
def test_a_field_out_of_range_is_refused_by_its_name(field, value, complaint):
    with pytest.raises(ValidationError, match=complaint):
        StreamConfig(batch=12, lanes=6, image_size=8, **{field: value})


def test_what_is_said_beforehand_is_by_kind_and_falls_with_the_lanes_of_a_rank(mixture):
    with Stream(mixture, CONFIG) as whole, Stream(mixture, CONFIG, 0, 3) as third:
        said, less = whole.describe()["peak_bytes"], third.describe()["peak_bytes"]
        means = [source.sample_bytes for source in whole._sources]
        assert 0 <= said["blocks"] - 2 * 6 * 2 * sum(means) <= 1
        assert [said["reads"], less["reads"]] == [ceil(n * 2 * max(means)) for n in (8, 2 * 2)]
        assert said["images"] == 6 * 12 * 8 * 8 * 3
        for kind in ("blocks", "records", "images"):
            assert abs(said[kind] - 3 * less[kind]) <= 3


def test_what_is_said_of_the_sources_follows_the_step(mixture):
    with Stream(mixture, CONFIG) as stream:
        stream.load_state_dict(stream.state_dict() | {"step": 23})
        said = json.loads(json.dumps(stream.describe()))["sources"]
    web, trusted = (
        {"samples": 23, "share": 0.8, "block": 2},
        {"samples": 7, "share": 0.2, "block": 2},
    )
    assert said["web"] == web | {"epochs": pytest.approx(12 * 0.8)}
    assert said["trusted"] == trusted | {"epochs": pytest.approx(23 * 12 * 0.2 / 7)}


def threads():
    return [one.name for one in threading.enumerate() if one.name.startswith("stream-")]


def leave(stream):
    for _ in stream:
        assert threads()
        break


def fail(stream):
    with pytest.raises(ZeroDivisionError):
        for batch in stream:
            batch.step / 0


def drop(stream):
    batches = iter(stream)
    next(batches)
    del batches


def forget_in_a_cycle(stream):
    cycle = {"batches": iter(stream)}
    cycle["itself"] = cycle
    next(cycle["batches"])
    del cycle
    gc.collect()


@pytest.mark.parametrize("way", [leave, fail, drop, forget_in_a_cycle])
def test_however_a_plain_iteration_ends_its_threads_end_with_it(mixture, way):
    way(Stream(mixture, CONFIG))
    assert threads() == []


def test_a_store_that_fails_leaves_no_thread(own_mixture):
    mixture, folder, snapshot = own_mixture
    (folder / snapshot.shards[2].path).unlink()
    stream = Stream(mixture, CONFIG)
    with pytest.raises(HeadraceError):
        list(itertools.islice(stream, STEPS))
    assert threads() == []


def test_a_new_iteration_ends_the_one_before_and_goes_on(mixture, undisturbed):
    stream = Stream(mixture, CONFIG)
    first = iter(stream)
    got = [next(first), next(first)]
    second = iter(stream)
    got.append(next(second))
    assert list(first) == []
    stream.close()
    assert list(second) == []
    assert threads() == []
    assert_same(got, undisturbed[0][:3])


def test_images_lie_in_memory_as_they_were_decoded(undisturbed):
    for batch in undisturbed[0]:
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(batch.images.contiguous(), batch.images)


def test_a_batch_that_is_kept_is_never_written_over(mixture):
    """The memory of one that is not is filled again."""
    with Stream(mixture, CONFIG) as stream:
        batches = iter(stream)
        kept = next(batches)
        images, one = kept.images.clone(), kept.images[3]
        for _ in range(20):
            next(batches)
        assert torch.equal(kept.images, images)
        del kept
        for _ in range(20):
            next(batches)
        assert torch.equal(one, images[3]), "a view of a batch keeps it"


def test_a_batch_tells_when_its_bytes_and_its_pixels_were_there(mixture):
    with Stream(mixture, CONFIG) as stream:
        began = time.monotonic()
        for batch in itertools.islice(stream, 5):
            assert began < batch.fetched < batch.decoded < time.monotonic()


def test_the_digest_is_of_every_sample_that_was_delivered(undisturbed):
    batches, total = undisturbed
    hashes = []
    for batch in batches:
        sources = [["web", "trusted"][source] for source in batch.sources.tolist()]
        places = (batch.lanes.tolist(), batch.slots.tolist(), sources, batch.epochs.tolist())
        rows = zip(*places, batch.keys, strict=True)
        hashes += [digest.sample_hash(batch.step, *row) for row in rows]
    assert len(hashes) == 12 * STEPS
    assert total == digest.total(hashes)


def test_the_digest_counts_from_the_load(mixture):
    with Stream(mixture, CONFIG) as stream:
        next(iter(stream))
        assert stream.digest
        stream.load_state_dict(stream.state_dict())
        assert stream.digest == 0


def test_a_mixture_and_its_sources_named_with_their_ratios_are_the_same_stream(
    mixture, undisturbed, tmp_path, web, trusted
):
    (tmp_path / "mixture.json").write_bytes(mixture_bytes(mixture))
    ratios = {"web": (web.url, 0.8), "trusted": (trusted.dataset, 0.2)}
    for named in (str(tmp_path / "mixture.json"), ratios):
        batches, total = deliver(named)
        assert_same(batches, undisturbed[0])
        assert total == undisturbed[1]


def test_a_snapshot_alone_is_a_stream(web):
    alone = Mixture((Source(UNNAMED, web.url, 1, 23),))
    for url in (web.url, web.dataset):
        batches, total = deliver(url, steps=3)
        assert_same(batches, deliver(alone, steps=3)[0])
        assert total


def test_blocks_may_be_chosen_by_source(mixture):
    config = CONFIG.model_copy(update={"block": {"trusted": 1}})
    with Stream(mixture, config) as stream:
        assert stream.identity["source trusted"]["block"] == 1
    unknown = CONFIG.model_copy(update={"block": {"nobody": 1}})
    with pytest.raises(HeadraceError, match="no source \\['nobody'\\]"):
        Stream(mixture, unknown)
