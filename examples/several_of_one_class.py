"""Two digits of one class, by Grad-CAM and Grad-CAM++: python examples/several_of_one_class.py FIGURE.jpg

A digit is found when the map reaches half of its maximum in the digit's box.
"""

import sys

import torch
from cases import cases

import camport
from camport.metrics import EnergyInRegion
from camport.view import Cell, grid, overlay, save_image

METHODS = {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++"}
LAYERS = ("layer2", "layer3")
SHOWN = range(3)


def main(figure, count=60):
    seen = cases("demo:digits", int(count), least=2)
    numbers, columns = {}, [[seen.cell(i) for i in SHOWN]]
    for layer in LAYERS:
        for method, title in METHODS.items():
            heatmap = camport.explain(seen.loaded.model, seen.images, method, seen.targets, layer=layer).heatmap
            boxes = [seen.boxes(i) for i in range(len(heatmap))]
            weakest = torch.stack(
                [min(m[y0:y1, x0:x1].max() for x0, y0, x1, y1 in part) for m, part in zip(heatmap, boxes, strict=True)]
            )
            energy = EnergyInRegion()(heatmap, seen.regions).mean()
            numbers[method, layer] = float((weakest > 0.5).float().mean()), float(weakest.mean()), float(energy)
            print(
                f"{title} at {layer}:",
                "all found in {:.0%}, weakest peak {:.2f}, energy {:.3f}".format(*numbers[method, layer]),
            )
            maps = [overlay(seen.scenes[i].image, heatmap[i].numpy(), alpha=0.6) for i in SHOWN]
            columns.append([Cell(m, f"weaker peak {weakest[i]:.2f}") for m, i in zip(maps, SHOWN, strict=True)])
    heads = ["scene", *(f"{title}, {layer}" for layer in LAYERS for title in METHODS.values())]
    save_image(figure, grid(list(zip(*columns, strict=True)), columns=heads, cell=160), quality=80)
    return numbers


if __name__ == "__main__":
    main(*sys.argv[1:])
