from dataclasses import replace

import pytest

from pipeline.format.errors import HeadraceError
from pipeline.format.mixture import Mixture, Source, mixture_bytes
from trainer.stream.opening import UNNAMED, open_all


def facts(opened):
    return [(name, weight, shards.id, shards.label) for name, weight, shards in opened]


def test_a_snapshot_or_a_dataset_is_one_source_of_whatever_place(web):
    for url in (web.url, web.dataset, f"{web.dataset}/"):
        assert facts(open_all(url)) == [(UNNAMED, 1, web.id, web.url)]


def test_a_mixture_its_url_and_named_ratios_open_the_same_sources(mixture, web, trusted, tmp_path):
    (tmp_path / "mixture.json").write_bytes(mixture_bytes(mixture))
    expected = [("web", 4, web.id, web.url), ("trusted", 1, trusted.id, trusted.url)]
    assert facts(open_all(mixture)) == expected
    assert facts(open_all(str(tmp_path / "mixture.json"))) == expected
    assert facts(open_all({"web": (web.url, 0.8), "trusted": (trusted.url, 0.2)})) == expected


@pytest.mark.parametrize(
    "named", ["/pool/{000..099}.tar", "/pool/*", "/pool/000.tar", ["/pool/000.tar"]]
)
def test_plain_tars_are_told_from_snapshots_and_not_read_yet(named):
    for one in (named, {"web": (named, 1)}):
        with pytest.raises(HeadraceError, match="tars without a manifest cannot be streamed yet"):
            open_all(one)


def test_a_source_that_is_not_there_is_refused_and_named(tmp_path):
    nowhere = str(tmp_path / "snapshots" / "0")
    for named in (Mixture((Source("web", nowhere, 1, 5),)), nowhere):
        with pytest.raises(HeadraceError, match=r"snapshots/0/manifest\.json: no such file"):
            open_all(named)


def test_an_empty_source_is_refused_and_named(tmp_path, make_snapshot, pictures):
    snapshot = make_snapshot(tmp_path, pictures, [])
    for named in (Mixture((Source("web", snapshot.url, 1, 0),)), {"web": (snapshot.url, 1)}):
        with pytest.raises(HeadraceError, match=rf"{snapshot.url}: source 'web' has no samples"):
            open_all(named)


def test_a_source_that_is_not_as_the_mixture_says_is_refused(mixture):
    web, trusted = mixture.sources
    with pytest.raises(HeadraceError, match="holds 23 samples, the mixture says 22"):
        open_all(Mixture((replace(web, samples=22), trusted)))


def test_two_sources_of_one_name_are_refused(mixture):
    web, trusted = mixture.sources
    with pytest.raises(HeadraceError, match="give each its own"):
        open_all(Mixture((web, replace(trusted, name="web"))))


def test_a_ratio_that_is_none_is_refused_and_named(web):
    with pytest.raises(HeadraceError, match="mixture source 'web': ratio 0"):
        open_all({"web": (web.url, 0)})
