"""What the experiments look at: held-out digit scenes, a class in each, and where it is. No script by itself."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from camport.demo.scenes import Scene, make_scene, scene_arrays
from camport.models import Loaded, load_model
from camport.view import Box, Cell


@dataclass(frozen=True)
class Cases:
    """n classes in scenes: images [n,3,H,W] as the network wants them, targets [n], their boxes as regions [n,H,W]."""

    loaded: Loaded
    scenes: tuple[Scene, ...]
    images: Tensor
    targets: Tensor
    regions: Tensor

    def boxes(self, i: int) -> list[tuple[int, int, int, int]]:
        """Where the class is in scene i, one xyxy a digit."""
        return [tuple(map(int, d.box)) for d in self.scenes[i].digits if d.label == self.targets[i]]

    def cell(self, i: int) -> Cell:
        """The scene with these boxes drawn, and what is asked."""
        asked = f"where is {self.loaded.labels[self.targets[i]]}?"
        return Cell(self.scenes[i].image, asked, [Box(box) for box in self.boxes(i)])


def cases(network: str, count: int, least: int = 1) -> Cases:
    """The first `count` classes of held-out scenes that are seen at least `least` times in their scene."""
    loaded, found, seed = load_model(network), [], 0
    while len(found) < count:
        scene = make_scene(seed, split="held-out", size=loaded.preprocess.size[0])
        labels = [digit.label for digit in scene.digits]
        found += [(scene, label) for label in dict.fromkeys(labels) if labels.count(label) >= least]
        seed += 1
    scenes, targets = zip(*found[:count], strict=True)
    pictures = [Image.fromarray(scene.image) for scene in scenes]
    images = torch.stack([torch.from_numpy(loaded.preprocess.apply(picture)[0]) for picture in pictures])
    made = Cases(loaded, scenes, images, torch.tensor(targets), torch.zeros(count, *images.shape[2:], dtype=torch.bool))
    for i, region in enumerate(made.regions):
        for x0, y0, x1, y1 in made.boxes(i):
            region[y0:y1, x0:x1] = True
    return made


def single_digits(seeds: range, split: str) -> tuple[Tensor, Tensor]:
    """Scenes of one digit for training: normalised images [n,3,48,48], and which digit it is."""
    pixels, presence = scene_arrays(seeds, split=split, size=48, digits=1)
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.48) / 0.21
    return images, torch.from_numpy(presence).int().argmax(1)
