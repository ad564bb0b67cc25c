"""A classifier that learned the background: python examples/biased_classifier.py FIGURE.jpg

The first network sees horses on grass and penguins on ice alone, the second each on both. A map tells them apart."""

import sys

import numpy as np
import skimage.data
import torch
from PIL import Image, ImageDraw

import camport
from camport.demo.networks import DigitResNet
from camport.metrics import EnergyInRegion
from camport.view import Cell, grid, overlay, save_image

PENGUIN = Image.new("L", (200, 300))
for part in [(40, 60, 160, 280), (60, 5, 140, 95), (120, 40, 190, 60), (20, 90, 180, 220)]:
    ImageDraw.Draw(PENGUIN).ellipse(part, 255)  # body, head, beak, wings
ANIMALS = [Image.fromarray(np.uint8(255 * ~skimage.data.horse())), PENGUIN]
GROUNDS = [skimage.data.grass()[..., None] * [0.6, 1.0, 0.4], 160 + skimage.data.gravel()[..., None] * [0.2, 0.3, 0.35]]


def photographs(seed, count, share):
    """Images [n,3,64,64], classes [n], where the animals are; this share of them stand where they belong."""
    rng, classes, found = np.random.default_rng(seed), np.arange(count) % 2, []
    for animal in classes:
        ground, (y, x) = GROUNDS[animal if rng.random() < share else 1 - animal], rng.integers(384, size=2)
        shape, mask = ANIMALS[animal].copy(), Image.new("L", (64, 64))
        shape.thumbnail([rng.integers(24, 36)] * 2)
        mask.paste(shape, tuple(rng.integers(1, 63 - side) for side in shape.size))
        picture, alpha = ground[y : y + 128 : 2, x : x + 128 : 2] / 255, np.asarray(mask) / 255
        found.append((picture + alpha[..., None] * (rng.choice([0.05, 0.3, 0.95]) - picture), alpha > 0.5))
    pictures, masks = (torch.from_numpy(np.stack(rows)) for rows in zip(*found, strict=True))
    return pictures.float().permute(0, 3, 1, 2), torch.from_numpy(classes), masks


def main(figure, count=500, epochs=12):
    images, classes, masks = photographs(2, 100, 0.5)  # half of them where they do not belong
    numbers, rows = {}, [list(images[:6].numpy())]
    for name, share in (("biased", 1.0), ("fair", 0.5)):
        torch.manual_seed(0)
        network, (seen, labels, _) = DigitResNet(classes=2), photographs(1, int(count), share)
        optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
        for part in torch.stack([torch.randperm(len(seen)) for _ in range(int(epochs))]).view(-1, 25):
            torch.nn.functional.cross_entropy(network(seen[part]), labels[part]).backward()
            optimiser.step()
            optimiser.zero_grad()
        found = camport.explain(network, images, "gradcam", layer="layer3")
        right, outside = (found.target == classes).float().mean(), 1 - EnergyInRegion()(found.heatmap, masks).mean()
        numbers[name] = float(right), float(outside)
        print(f"{name}: right in {numbers[name][0]:.0%}, energy outside the animal {numbers[name][1]:.3f}")
        maps = [overlay(x, m, alpha=0.6) for x, m in zip(rows[0], found.heatmap.numpy(), strict=False)]
        rows.append(list(map(Cell, maps, (("says horse", "says penguin")[said] for said in found.target))))
    save_image(figure, grid(rows, row_labels=["scene", "biased", "fair"], cell=140), quality=85)
    return numbers


if __name__ == "__main__":
    main(*sys.argv[1:])
