import pytest

from pipeline.format.errors import HeadraceError
from trainer.proof import NAME, WIDTH, Proof, digest_of, first_difference, read

DIGESTS = [5, 2**128 - 1, 0, 77, 12, 9]


def write(run, digests, steps=0):
    run.mkdir(exist_ok=True)
    proof = Proof(run / NAME, steps)
    proof.write(digests)
    proof.close()
    return read(str(run))


def test_a_line_is_the_step_and_its_digest_in_one_width(tmp_path):
    lines = write(tmp_path, DIGESTS)
    text = (tmp_path / NAME).read_text()
    assert text.splitlines()[:2] == [f"{0:010d} {5:032x}", f"{1:010d} {'f' * 32}"]
    assert len(text) == len(DIGESTS) * WIDTH
    assert [int(digest_of(lines, step), 16) for step in range(6)] == DIGESTS


def test_steps_after_the_one_that_a_run_resumes_at_are_forgotten(tmp_path):
    whole = write(tmp_path / "whole", DIGESTS)
    write(tmp_path / "killed", [*DIGESTS[:3], 1, 2])
    resumed = write(tmp_path / "killed", DIGESTS[3:], steps=3)
    assert resumed.tobytes() == whole.tobytes()


def test_a_line_cut_by_a_kill_is_no_step(tmp_path):
    write(tmp_path, DIGESTS[:3])
    with (tmp_path / NAME).open("a") as file:
        file.write("0000000003 00")
    assert len(read(str(tmp_path))) == 3
    assert len(write(tmp_path, DIGESTS[3:], steps=3)) == 6


def test_a_proof_that_ends_before_the_checkpoint_is_refused(tmp_path):
    write(tmp_path, DIGESTS[:3])
    with pytest.raises(HeadraceError, match=r"delivered\.txt: ends before step 4"):
        Proof(tmp_path / NAME, 4)


@pytest.mark.parametrize("step", range(6))
def test_the_first_step_that_differs_is_found(tmp_path, step):
    changed = [*DIGESTS[:step], 99, *DIGESTS[step + 1 :]]
    left, right = write(tmp_path / "a", DIGESTS), write(tmp_path / "b", changed)
    assert first_difference(left, right) == step
    assert first_difference(left, right[:step]) is None


def test_a_folder_without_a_proof_and_another_file_are_named(tmp_path):
    with pytest.raises(HeadraceError, match=r"delivered\.txt: no such file"):
        read(str(tmp_path))
    (tmp_path / NAME).write_text("something else" * 20)
    with pytest.raises(HeadraceError, match="not a proof that headrace wrote"):
        read(str(tmp_path))
