"""Explanations that the bridges are given: of a small classifier, and of the demo's detector."""

from functools import cache

import numpy as np
import torch
from PIL import Image

import camport
from camport.demo.scenes import make_scene
from camport.models import load_model
from tests.nets import Net, images, seeded


def network():
    return seeded(Net(), dtype=torch.float32)


def pictures(b=2):
    return images(b, (16, 20), torch.float32)


@cache
def classified():
    """Two images, classes 1 and 3."""
    return camport.explain(network(), pictures(), "gradcam", torch.tensor([1, 3]), "features")


@cache
def detected():
    """Two scenes of two digits, each detection with its map."""
    loaded = load_model("demo:detector")
    scenes = [make_scene(i, split="held-out", digits=2, size=128).image for i in (3, 4)]
    planes = np.stack([loaded.preprocess.apply(Image.fromarray(scene))[0] for scene in scenes])
    return camport.explain(
        loaded.model, torch.from_numpy(planes), adapter="detection"
    ), loaded.labels
