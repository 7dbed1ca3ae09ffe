import pytest
import torch

from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream
from trainer.stream.transfer import to_device


@pytest.fixture(scope="module")
def batches(mixture):
    with Stream(mixture, StreamConfig(batch=12, lanes=6, image_size=8)) as stream:
        return [batch for _, batch in zip(range(5), stream, strict=False)]


def test_on_a_cpu_the_batches_are_the_very_same_and_none_is_asked_for_early(batches):
    source = iter(batches)
    moved = to_device(source, torch.device("cpu"))
    assert next(moved) is batches[0]
    assert next(source) is batches[1]
    assert list(moved) == batches[2:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_bits_are_those_of_the_cpu_one_batch_ahead(batches):
    device = torch.device("cuda", 0)
    source = iter(batches)
    moved = to_device(source, device)
    first = next(moved)
    assert next(source) is batches[2], "the second is on its way"
    found = [first, *moved]
    assert [batch.step for batch in found] == [0, 1, 3, 4]
    for batch in found:
        assert batch.images.device == device
        assert torch.equal(batch.images.cpu(), batches[batch.step].images)
        assert batch.keys == batches[batch.step].keys
