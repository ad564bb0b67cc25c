"""Class activation maps of two networks, with max-pooling and without: python examples/gap_pooling.py FIGURE.jpg

Both end in global average pooling and one linear layer, where Grad-CAM is the positive part of CAM.
"""

import sys

from cases import cases

import camport
from camport.metrics import EnergyInRegion
from camport.view import Cell, grid, overlay, save_image

SHOWN = (0, 3, 5)


def main(figure, count=60):
    numbers, columns = {}, []
    for name in ("gap-pool", "gap-full"):
        seen = cases(f"demo:{name}", int(count))
        found = camport.explain(seen.loaded.model, seen.images, "gradcam", seen.targets, layer="features")
        hot = (found.heatmap > 0.5).float().mean((1, 2))
        energy = EnergyInRegion()(found.heatmap, seen.regions)
        numbers[name] = found.raw.shape[1], float(hot.mean()), float(energy.mean())
        print(
            "{}: maps of {} rows, above half on {:.1%} of the image, energy in the boxes {:.3f}".format(
                name, *numbers[name]
            )
        )
        maps = [overlay(seen.scenes[i].image, found.heatmap[i].numpy(), alpha=0.6) for i in SHOWN]
        columns.append([Cell(m, f"above half on {hot[i]:.1%}") for m, i in zip(maps, SHOWN, strict=True)])
    print(f"chance {float(seen.regions.float().mean()):.3f}")
    rows = list(zip([seen.cell(i) for i in SHOWN], *columns, strict=True))
    heads = ["scene", "with max-pooling, 16 x 16", "without, 64 x 64"]
    save_image(figure, grid(rows, columns=heads, cell=200), quality=85)
    return numbers


if __name__ == "__main__":
    main(*sys.argv[1:])
