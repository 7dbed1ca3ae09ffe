import json

import pytest

from jobs.evaluation.published import BENCHMARKS, TABLE_6, Size
from jobs.evaluation.tabling import failures, figures_of
from tests.jobs.evaluation.probed import like_the_paper, results

SEVEN = ["in1k", "cifar10", "cifar100", "food101", "dtd", "pets", "eurosat"]


def seven(value=0.5):
    return {key: results(value + place / 100) for place, key in enumerate(SEVEN)}


def test_a_cell_is_the_attentive_probes_top_1_in_percent_with_its_interval():
    (row,) = figures_of({"mine": seven()}, "last")["ours"]
    assert row["cells"]["cifar10"] == {
        "value": 51.0,
        "low": 48.9,
        "high": 53.0,
        "layers": [2, 3],
        "chosen_on": "held_out",
    }
    assert row["weights"]["weights"] == "runs/mine"


def test_a_mean_is_over_the_sets_that_are_there_and_says_how_many():
    (row,) = figures_of({"mine": seven()}, "last")["ours"]
    assert row["mean"] == pytest.approx(53)
    assert row["mean_of"] == 7
    assert [key for key, cell in row["cells"].items() if cell] == SEVEN


def test_published_rows_have_the_printed_mean_and_one_over_our_sets():
    figures = figures_of({"mine": seven()}, "last")
    assert figures["same"] == SEVEN
    assert [row["mean"] for row in figures["published"]] == [row.mean for row in TABLE_6]
    dino = figures["published"][0]
    assert dino["mean_of_same"] == pytest.approx(
        (80.1 + 97.8 + 87.3 + 89.5 + 78.4 + 92.3 + 98.2) / 7, abs=0.005
    )
    assert figures["ours"][0]["mean_of_same"] == pytest.approx(53)


def test_trunks_with_other_sets_are_compared_over_those_that_all_of_them_have():
    other = {"cifar10": results(0.7), "dtd": "the run failed", "fmow": results(0.2)}
    figures = figures_of({"mine": seven(), "other": other}, "last")
    assert figures["same"] == ["cifar10"]
    assert [row["mean_of_same"] for row in figures["ours"]] == [51, 70]
    assert [row["mean"] for row in figures["ours"]] == [53, 45]
    assert [row["mean_of"] for row in figures["ours"]] == [7, 2]


def test_a_trunk_that_failed_everywhere_takes_no_set_from_the_others():
    lost = dict.fromkeys(SEVEN, "no such file")
    figures = figures_of({"mine": seven(), "lost": lost}, "last")
    assert figures["same"] == SEVEN
    assert figures["ours"][1]["mean"] is None
    assert figures["ours"][1]["mean_of_same"] is None
    assert figures["ours"][1]["weights"] is None


def test_a_failed_probe_has_its_reason_in_its_cell_and_counts_in_no_mean():
    found = seven() | {"pets": "pets/train: no such folder"}
    figures = figures_of({"mine": found}, "last")
    assert figures["ours"][0]["cells"]["pets"] == {"failed": "pets/train: no such folder"}
    assert figures["ours"][0]["mean_of"] == 6
    assert list(failures(figures)) == [("mine", "Pets", "pets/train: no such folder")]


def test_a_set_of_another_size_than_the_papers_has_a_footnote():
    found = {"dtd": results(0.5, Size(1200, 1880, 47)), "cifar10": results(0.5, Size(9, 8, 12))}
    sets = figures_of({"mine": found}, "last")["sets"]
    assert sets["dtd"]["footnote"] == "1,200 training images, the paper has 3,760"
    assert sets["cifar10"]["footnote"] == (
        "9 training images, the paper has 50,000; 8 test images, the paper has 10,000; "
        "12 classes, the paper has 10"
    )
    assert sets["dtd"]["used"] == {"train": 1200, "test": 1880, "classes": 47}
    assert sets["pets"]["used"] is None
    assert sets["pets"]["footnote"] is None


def test_sets_of_the_papers_sizes_have_none_but_the_one_whose_size_is_unknown():
    sets = figures_of({"mine": like_the_paper(0.8)}, "last")["sets"]
    assert [key for key, one in sets.items() if one["footnote"]] == ["iwildcam"]
    assert "we do not know" in sets["iwildcam"]["footnote"]
    assert sets["in1k"]["paper"] == {"train": 1_281_167, "test": 50_000, "classes": 1000}


@pytest.mark.parametrize(
    ("layers", "row"), [("last", 0), ("best", 1), ("search", 1), ((2, 3), None)]
)
def test_in_1k_stands_in_the_row_of_tables_7_and_8_that_reads_the_same_layers(layers, row):
    found = figures_of({"mine": {"in1k": results(0.6)}}, layers)["in1k"]
    assert [one["published"]["7B"] for one in found] == [82.4, 84.0, 86.3]
    ours = [one["ours"]["mine"] for one in found]
    assert [place for place, cell in enumerate(ours) if cell] == ([] if row is None else [row])


def test_without_in_1k_there_are_no_tables_7_and_8():
    assert figures_of({"mine": {"pets": results(0.6)}}, "last")["in1k"] == []


def test_everything_is_plain_json_in_the_order_of_the_paper():
    figures = figures_of({"mine": dict(reversed(seven().items()))}, (2, 3))
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert list(figures["sets"]) == list(BENCHMARKS)
    assert figures == figures_of({"mine": seven()}, (2, 3))
