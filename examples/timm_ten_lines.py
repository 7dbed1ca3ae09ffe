"""Trains a timm model on a stream: one that tells two sources apart, as a quality filter does.

Run it from the repository's root: python examples/timm_ten_lines.py
"""

from itertools import islice

import timm
import torch
from torch.nn.functional import cross_entropy

from trainer.stream.config import StreamConfig
from trainer.stream.stream import Stream

demo = "jobs/demo_data"
sources = {"trusted": (f"{demo}/trusted/*.tar", 0.8), "few": (f"{demo}/target/train-*.tar", 0.2)}
model = timm.create_model("resnet10t", num_classes=len(sources))
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
for batch in islice(Stream(sources, StreamConfig(batch=40, lanes=8, image_size=64)), 20):
    loss = cross_entropy(model(batch.images / 255), batch.sources)
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    print(f"step {batch.step}  loss {loss.item():.3f}")
