"""Which group a row counts towards."""

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.decide.quotas import QuotaConfig, columns, group_of
from pipeline.format.errors import HeadraceError
from tests.pipeline.making import rows


def groups(changes, per: str, cluster=None) -> list[str | None]:
    config = QuotaConfig(per=per, at_most=1)
    return group_of(rows(*changes).select(sorted(columns(config))), config, cluster).to_pylist()


def test_rows_are_grouped_by_domain():
    urls = ["http://www.a.com:80/1", "https://A.com/2", "http://b.a.com/", None, "no url"]
    found = groups([{"url": url} for url in urls], "domain")
    assert found == ["a.com", "a.com", "b.a.com", None, None]


def test_rows_are_grouped_by_cluster():
    found = groups([{}] * 3, "cluster", np.array([7, -1, 0], np.int32))
    assert found == ["7", None, "0"]


def test_rows_are_grouped_by_a_column():
    assert groups([{"language": "en"}, {"language": None}], "language") == ["en", None]
    assert groups([{"frames": 3}, {"frames": None}], "frames") == ["3", None]


def test_what_makes_no_groups_is_refused():
    with pytest.raises(HeadraceError, match=r"quotas\.per: sharpness holds float"):
        groups([{}], "sharpness")
    with pytest.raises(HeadraceError, match="name the centroids under clusters"):
        groups([{}], "cluster")
    for fields in ({"per": "domain", "at_most": 0}, {"per": "", "at_most": 1}, {"per": "domain"}):
        with pytest.raises(ValidationError):
            QuotaConfig(**fields)
