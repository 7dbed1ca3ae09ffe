"""How ranks share the weights; that they then train alike is in test_step.py."""

import pytest
import torch

from pipeline.format.errors import HeadraceError
from trainer.distributed import World, mesh_of


@pytest.mark.parametrize("ranks", [3, 8])
def test_copies_of_the_weights_must_fill_the_world(ranks):
    four = World(0, 4, torch.device("cpu"), local_size=4)
    with pytest.raises(HeadraceError, match=rf"compute.shard_over: {ranks} ranks .* 4 ranks; use"):
        mesh_of(four, ranks)
