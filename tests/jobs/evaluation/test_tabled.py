import io

from rich.console import Console

from jobs.evaluation.published import BENCHMARKS, Size
from jobs.evaluation.tabled import markdown, tables
from jobs.evaluation.tabling import figures_of
from tests.jobs.evaluation.probed import like_the_paper, results

PETS = {"pets": results(0.5, Size(3680, 3669, 37)), "dtd": results(0.25, Size(1200, 1880, 47))}


def lines(found, layers="last"):
    return markdown(figures_of(found, layers)).splitlines()


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def rows(found):
    """The first table's, by column, ours first."""
    text = lines(found)
    table = text[2 : text.index("", 2)]
    heads = cells(table[0])
    return [dict(zip(heads, cells(line), strict=True)) for line in table[2:]]


def test_ours_come_first_with_intervals_then_the_eleven_published_rows():
    found = rows({"mine": PETS, "yours": PETS})
    assert [row["trunk"] for row in found[:3]] == ["mine", "yours", "DINO (B/8, IN-1k)"]
    assert len(found) == 2 + 11
    assert found[0]["Pets"] == "50.0 (47.9 to 52.0)"
    assert found[2]["Pets"] == "92.3"
    assert found[-1]["trunk"] == "AIM-7B (20th layer) (DFN-2B+)"


def test_missing_sets_have_a_dash_and_the_mean_says_what_it_is_of():
    found = rows({"mine": PETS})
    assert found[0]["IN-1k"] == "-"
    assert found[0]["Avg"] == "37.5 (mean of 2 of 15)"
    assert found[0]["Avg of our 2"] == "37.5"
    assert (found[1]["Avg"], found[1]["Avg of our 2"]) == ("75.0", "85.3")


def test_with_all_sets_there_is_one_mean():
    found = rows({"mine": like_the_paper(0.8)})
    assert found[0]["Avg"] == "80.0"
    assert list(found[0])[-1] == "Avg"
    assert len(found[0]) == 1 + 15 + 1


def test_a_footnote_is_found_by_the_number_at_its_set():
    text = lines({"mine": PETS})
    assert "DTD¹" in next(line for line in text if line.startswith("| trunk"))
    assert "- ¹ DTD: 1,200 training images, the paper has 3,760" in text


def test_a_failed_probe_is_marked_and_told_below_on_one_line():
    text = lines({"mine": PETS | {"cars": "cars | train:\nno such folder"}})
    assert "- mine, Cars: failed: cars \\| train: no such folder" in text
    assert cells(next(line for line in text if line.startswith("| mine")))[8] == "failed"


def test_a_trunk_that_failed_everywhere_is_a_row_of_its_own_with_no_mean():
    row = rows({"mine": {"pets": "no weights"}})[0]
    assert row["Pets"] == "failed"
    assert row["Avg"] == "-"


def test_a_grid_that_the_test_set_chose_is_said():
    text = "\n".join(lines({"mine": {"pets": results(0.5, chosen_on="test")}}))
    assert "chosen on the test set itself, which flatters: Pets" in text
    assert "flatters" not in "\n".join(lines({"mine": PETS}))


def test_in_1k_gets_the_small_table_of_its_own():
    text = lines({"mine": {"in1k": results(0.6)}}, "best")
    start = text.index("## IN-1k: Tables 7 and 8")
    head, _, last, best, lora = text[start + 2 : start + 7]
    assert cells(head) == ["IN-1k", "mine", "AIM-0.6B", "AIM-1B", "AIM-3B", "AIM-7B"]
    assert cells(last)[1:3] == ["-", "78.5"]
    assert cells(best)[1:3] == ["60.0 (57.9 to 62.0)", "79.4"]
    assert cells(lora)[1:] == ["-", "81.0", "83.6", "85.5", "86.3"]
    assert any("`headrace eval lora` trains yours" in line for line in text[:start])
    without = lines({"mine": PETS})
    assert "## IN-1k: Tables 7 and 8" not in without
    assert "eval lora" not in "\n".join(without)


def test_a_console_of_80_columns_shows_each_set_beside_aims_and_names_as_they_are():
    out = io.StringIO()
    console = Console(file=out, width=80)
    for one in tables(figures_of({"mine": PETS | {"cars": "[bold] failed"}}, "last")):
        console.print(one, soft_wrap=isinstance(one, str))
    text = out.getvalue().splitlines()
    assert "mine, Cars: failed: [bold] failed" in text
    assert all(any(f"│ {one.title}" in line for line in text) for one in BENCHMARKS.values())
    place = next(place for place, line in enumerate(text) if "│ Pets" in line)
    found = [cell.strip() for cell in text[place].strip("│").split("│")]
    assert found == ["Pets", "50.0", "93.0", "93.4", "94.1", "93.8", "95.4"]
    assert "(47.9 to 52.0)" in text[place + 1]
