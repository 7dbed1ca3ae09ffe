"""What a shuffle found comes home to the part that it belongs to."""

import numpy as np
import pyarrow as pa

from pipeline.decide.homing import places, slices

SCHEMA = pa.schema([("row", pa.int64())])


def test_every_found_row_comes_home_once_however_it_arrives():
    random = np.random.default_rng(1)
    for _ in range(100):
        bounds = np.concatenate([[0], np.cumsum(random.integers(0, 6, 8))])
        found = np.flatnonzero(random.integers(0, 2, bounds[-1]))
        cuts = np.sort(random.integers(0, len(found) + 1, 3))
        pieces = (pa.table({"row": piece}, SCHEMA) for piece in np.split(found, cuts))
        home = [own["row"].to_pylist() for own in slices(pieces, bounds, SCHEMA)]
        assert len(home) == 8
        for part, rows in enumerate(home):
            assert rows == [row for row in found if bounds[part] <= row < bounds[part + 1]]


def test_places_count_from_the_first_row_of_the_part():
    part = pa.table({"row": [40, 41, 42, 43]})
    assert places(pa.table({"row": [41, 43]}), part).tolist() == [1, 3]
    assert places(pa.table({"row": pa.array([], pa.int64())}), part.slice(0, 0)).tolist() == []
