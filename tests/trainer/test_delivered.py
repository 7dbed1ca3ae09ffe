"""The account of what a run was fed; whole runs are in test_train.py."""

import json
from contextlib import closing
from dataclasses import replace
from itertools import islice

import pytest
import torch

from pipeline.format.errors import HeadraceError
from trainer import proof, quarantine
from trainer.delivered import Account, Delivered, from_fields
from trainer.stream import digest
from trainer.stream.bad import Bad
from trainer.stream.batch import Batch
from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream

NAMES = ["web", "trusted"]
BAD = Bad("web", 7, "file:///a/0.tar", "k7", 512, "not_an_image: no", "k8")


def batch(step, bad=(), samples=16):
    """A step of one rank, every fourth sample of it trusted."""
    numbers = torch.arange(samples)
    return Batch(
        step=step,
        images=torch.zeros(samples, 3, 1, 1, dtype=torch.uint8),
        lanes=numbers // 4,
        slots=numbers % 4,
        sources=(numbers % 4 == 3).long(),
        epochs=torch.full((samples,), 2),
        samples=numbers + 100 * step,
        keys=[f"{step}-{number}" for number in range(samples)],
        captions=[""] * samples,
        bad=list(bad),
        digest=5 + step,
    )


@pytest.fixture
def account(world, tmp_path):
    opened = Account(tmp_path, NAMES, 0.01, leads=True)
    opened.open(0, Delivered())
    yield opened
    opened.close()


def listed(folder):
    return [json.loads(line) for line in (folder / quarantine.NAME).read_text().splitlines()]


def test_the_log_has_shares_damage_by_source_and_kind_and_the_sum_of_the_steps(account, tmp_path):
    blank = replace(BAD, source="trusted", reason="not_in_tar: 'x' stands there")
    account.count(batch(0, [BAD, blank]))
    account.count(batch(1, [replace(BAD, sample=9)]))
    fields = account.settle().fields()
    assert fields["drawn"] == {"trusted": 8, "web": 24}
    assert fields["bad"] == {"trusted": {"not_in_tar": 1}, "web": {"not_an_image": 2}}
    lines = proof.read(str(tmp_path))
    steps = [int(proof.digest_of(lines, step), 16) for step in range(2)]
    assert fields["digest"] == digest.text(digest.total(steps))
    assert steps == [5, 6]


def test_fields_give_their_counts_back(account):
    account.count(batch(0, [BAD]))
    delivered = account.settle()
    assert from_fields(json.loads(json.dumps(delivered.fields()))) == delivered
    assert from_fields(Delivered().fields()) == Delivered()


def test_settling_twice_counts_once(account):
    account.count(batch(0, [BAD]))
    once = account.settle().fields()
    assert account.settle().fields() == once


def test_a_sample_is_listed_once_with_its_place_and_reason(account, tmp_path):
    for step in range(3):
        account.count(batch(step, [replace(BAD, instead=f"k{step}")]))
    account.settle()
    assert listed(tmp_path) == [
        {
            "source": "web",
            "sample": 7,
            "url": "file:///a/0.tar",
            "key": "k7",
            "offset": 512,
            "reason": "not_an_image: no",
        }
    ]


def test_a_resumed_account_goes_on_with_counts_and_lists(account, tmp_path):
    account.count(batch(0, [BAD]))
    saved = account.settle().fields()
    account.count(batch(1, [replace(BAD, sample=8)]))
    whole = account.settle().fields()
    files = [(tmp_path / name).read_bytes() for name in (proof.NAME, quarantine.NAME)]
    account.close()
    with (tmp_path / quarantine.NAME).open("a") as file:
        file.write('{"source": "we')
    resumed = Account(tmp_path, NAMES, 0.01, leads=True)
    resumed.open(1, from_fields(saved))
    resumed.count(batch(1, [replace(BAD, sample=8)]))
    assert resumed.settle().fields() == whole
    assert resumed.step == 2
    resumed.close()
    assert [(tmp_path / name).read_bytes() for name in (proof.NAME, quarantine.NAME)] == files


def test_a_run_from_step_0_lists_nothing_that_an_earlier_attempt_met(account, tmp_path):
    account.count(batch(0, [BAD, replace(BAD, sample=8)]))
    account.settle()
    account.close()
    anew = Account(tmp_path, NAMES, 0.01, leads=True)
    anew.open(0, Delivered())
    anew.count(batch(0, [replace(BAD, url="file:///b/0.tar")]))
    anew.settle()
    anew.close()
    assert [(line["sample"], line["url"]) for line in listed(tmp_path)] == [(7, "file:///b/0.tar")]


def damage(account, bad, samples):
    account.count(batch(0, [replace(BAD, sample=n) for n in range(bad)], samples))
    account.settle()


def test_damage_within_the_budget_goes_on(account):
    damage(account, 20, 2000)


def test_a_few_damaged_samples_at_the_beginning_are_no_rate(account):
    damage(account, 10, 16)


@pytest.mark.parametrize(("bad", "samples"), [(21, 2000), (11, 16)])
def test_damage_over_the_budget_stops_with_source_reason_and_list(account, tmp_path, bad, samples):
    with pytest.raises(HeadraceError) as error:
        damage(account, bad, samples)
    assert f"{bad} of {samples} samples drawn are damaged" in str(error.value)
    assert "max_bad is 0.01" in str(error.value)
    assert "source 'web', most of those not_an_image" in str(error.value)
    assert str(tmp_path / quarantine.NAME) in str(error.value)
    assert len(listed(tmp_path)) == bad, "what the message points at is there"


def test_a_budget_of_nothing_stops_at_the_first_damaged_sample(account):
    account.max_bad = 0
    account.count(batch(0))
    account.settle()
    with pytest.raises(HeadraceError, match="1 of 32"):
        damage(account, 1, 16)


def test_a_loop_of_ones_own_is_stopped_by_its_account(world, tmp_path, make_snapshot, pictures):
    snapshot = make_snapshot(tmp_path / "web", pictures, [6])
    tar, image = tmp_path / "web" / snapshot.shards[0].path, pictures[2].image
    tar.write_bytes(tar.read_bytes().replace(image, bytes(len(image))))
    stream = Stream(snapshot.url, StreamConfig(batch=6, lanes=2, image_size=8))
    account = Account(tmp_path, stream.names, stream.config.max_bad, world.leads)
    account.open(stream.next_step, Delivered())
    with (
        stream,
        closing(account),
        pytest.raises(HeadraceError, match=r"11 of 66 samples .*max_bad is 0.01"),
    ):
        for batch in islice(stream, 100):
            account.count(batch)
            account.settle()
    assert [line["key"] for line in listed(tmp_path)] == [pictures[2].key]
