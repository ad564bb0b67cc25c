"""Networks of the packages as they stand in their configurations,
with random weights that find something.

Imported where nothing but these checks runs: one thread is what small networks run fastest on.
"""

from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image
from torch import nn

from benchmarks.detectors.list import awake

NAMES = {0: "car", 1: "bus", 2: "tram"}


torch.set_num_threads(1)


def of_three(config: Path, folder: Path) -> Path:
    """The configuration with three classes, as a user writes his own."""
    told: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
    told["nc"] = len(NAMES)
    path = folder / config.name
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    return path


def finding(model: Any) -> nn.Module:
    """Woken, and with biases of the last convolutions under which some candidates are confident."""
    torch.manual_seed(3)
    model = awake(model)
    head = model.model[-1]
    lasts = [branch[-1] for branch in head.cv3] if hasattr(head, "cv3") else list(head.m)
    for last in lasts:
        nn.init.normal_(last.weight, 0, 8 / last.in_channels**0.5)
        nn.init.constant_(last.bias, 0.0)
    model.names = dict(NAMES)
    return model


def street(folder: Path) -> Path:
    """A picture that is no square, with something in it."""
    path = folder / "street.jpg"
    noise = torch.rand(9, 15, 3, generator=torch.Generator().manual_seed(4))
    Image.fromarray((255 * noise).byte().numpy()).resize((480, 288)).save(path)
    return path
