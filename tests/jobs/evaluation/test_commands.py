"""`headrace eval …`: each command teaches what it does, and names what is wrong in its config."""

import pytest


@pytest.mark.parametrize(
    ("command", "field"),
    [
        ("probe", "epochs"),
        ("lora", "epochs"),
        ("knn", "train"),
        ("loss", "data"),
        ("table", "sets"),
    ],
)
def test_a_config_without_its_fields_is_refused_by_file_and_field(
    command, field, tmp_path, headrace_here
):
    path = tmp_path / "bad.yaml"
    path.write_text("weights: /nowhere\n")
    done = headrace_here("eval", command, path)
    assert done.returncode == 1
    assert f"error: {path}: {field}: Field required" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_list_is_no_config(tmp_path, headrace_here):
    path = tmp_path / "bad.yaml"
    path.write_text("- weights: /nowhere\n")
    done = headrace_here("eval", "probe", path)
    assert done.returncode == 1
    assert f"error: {path}: (whole file): " in done.stderr


@pytest.mark.parametrize("command", ["probe", "lora", "knn", "loss", "table"])
def test_help_says_how_to_go_on(command, headrace_here):
    told = " ".join(headrace_here("eval", command, "--help").stdout.split())
    assert "Run it again" in told or "run it again" in told or "found done" in told
