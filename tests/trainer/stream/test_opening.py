from dataclasses import replace

import pytest

from pipeline.format import store
from pipeline.format.errors import HeadraceError, Unavailable
from pipeline.format.mixture import Mixture, Source, mixture_bytes
from pipeline.format.patience import Patience
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


def test_tars_a_list_and_patterns_of_them_open_as_one_source(web, tmp_path):
    folder = f"{web.dataset}/{web.shards[0].path}".removesuffix("/00000000.tar")
    tars = [f"{folder}/0000000{n}.tar" for n in range(3)]
    opened = [
        open_all(named, str(tmp_path))
        for named in (tars, f"{folder}/{{00000000..00000002}}.tar", f"{folder}/*.tar")
    ]
    for ((name, weight, shards),) in opened:
        assert (name, weight, shards.samples.tolist()) == (UNNAMED, 1, [9, 8, 6])
    assert len({shards.id for ((_, _, shards),) in opened}) == 1


def test_tars_and_snapshots_are_mixed_by_name(web, trusted, tmp_path):
    tar = f"{trusted.dataset}/{trusted.shards[0].path}"
    one, other = open_all({"web": (web.url, 3), "few": (tar, 1)}, str(tmp_path))
    assert (one.name, one.weight, one.shards.id) == ("web", 3, web.id)
    assert (other.name, other.weight, other.shards.samples.tolist()) == ("few", 1, [4])


def test_a_source_that_is_not_there_is_refused_and_named(tmp_path):
    nowhere = str(tmp_path / "snapshots" / "0")
    for named in (Mixture((Source("web", nowhere, 1, 5),)), nowhere):
        with pytest.raises(HeadraceError, match=r"snapshots/0/manifest\.json: no such file"):
            open_all(named)


def test_a_manifest_that_cannot_be_had_at_once_is_asked_for_again(web, mixture, tmp_path):
    published = tmp_path / "mixture.json"
    published.write_bytes(mixture_bytes(mixture))
    brief = Patience(first_pause=0.01)
    for url in (web.url, str(published)):
        with pytest.MonkeyPatch.context() as patch:
            whole, failures = store.read_bytes, [Unavailable("busy"), Unavailable("busy")]

            def busy(*rest, whole=whole, failures=failures):
                if failures:
                    raise failures.pop()
                return whole(*rest)

            patch.setattr(store, "read_bytes", busy)
            assert open_all(url, patience=brief)[0].shards.id == web.id
            assert not failures


def test_an_empty_source_is_refused_and_named(tmp_path, make_snapshot, pictures):
    snapshot = make_snapshot(tmp_path, pictures, [])
    for named in (Mixture((Source("web", snapshot.url, 1, 0),)), {"web": (snapshot.url, 1)}):
        with pytest.raises(HeadraceError, match=rf"{snapshot.url}: source 'web' has no samples"):
            open_all(named)


def test_a_source_that_is_not_as_the_mixture_says_is_refused(mixture):
    web, trusted = mixture.sources
    with pytest.raises(HeadraceError, match="holds 23 samples, the mixture says 22"):
        open_all(Mixture((replace(web, samples=22), trusted)))


@pytest.mark.parametrize("named", [{}, Mixture(())])
def test_a_mixture_of_nothing_is_refused(named):
    with pytest.raises(HeadraceError, match="mixture: no source is named; name at least one"):
        open_all(named)


def test_two_sources_of_one_name_are_refused(mixture):
    web, trusted = mixture.sources
    with pytest.raises(HeadraceError, match="give each its own"):
        open_all(Mixture((web, replace(trusted, name="web"))))


def test_a_ratio_that_is_none_is_refused_and_named(web):
    with pytest.raises(HeadraceError, match="mixture source 'web': ratio 0"):
        open_all({"web": (web.url, 0)})
