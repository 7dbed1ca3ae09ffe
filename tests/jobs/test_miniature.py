"""The miniature's pictures and configs; what it trains is `headrace sweep`, tested there."""

from jobs import miniature
from jobs.config import CurateConfig, load
from jobs.sweep.config import SweepConfig
from jobs.sweep.plan import planned, units


def test_it_picks_the_first_picture_of_each_class_by_name(tmp_path):
    for name in ("b/2.png", "b/1.png", "a/3.png"):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).write_text(name)
    half = tmp_path / "few.partial" / "c"  # what a kill left
    half.mkdir(parents=True)
    miniature.pick(tmp_path / "train", tmp_path / "few")
    picked = {str(one.relative_to(tmp_path / "few")) for one in tmp_path.glob("few/*/*")}
    assert picked == {"a/3.png", "b/1.png"}
    assert not half.parent.exists()
    (tmp_path / "train" / "b" / "0.png").write_text("later")
    miniature.pick(tmp_path / "train", tmp_path / "few")
    assert not (tmp_path / "few" / "b" / "0.png").exists()


def test_its_configs_load_and_its_tables_share_the_training_of_the_mix(tmp_path):
    paths = miniature.write_configs(tmp_path)
    sweep = load(paths.pop("sweep"), SweepConfig)
    datasets = {load(path, CurateConfig).dataset for path in paths.values()}
    assert {sweep.sources.target, sweep.sources.web, sweep.train.validation} <= datasets
    tables = [units(planned(name, sweep, {})) for name in miniature.ABLATIONS]
    mix, attention = ({one.folder for one in table} for table in tables)
    assert (len(mix), len(attention), len(mix & attention)) == (9, 6, 3)
