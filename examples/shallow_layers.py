"""LayerCAM and Grad-CAM at every depth of a network: python examples/shallow_layers.py FIGURE.jpg"""

import sys

from cases import cases

import camport
from camport.metrics import EnergyInRegion, PointingGame
from camport.view import Cell, grid, overlay, save_image

METHODS = {"gradcam": "Grad-CAM", "layercam": "LayerCAM"}
LAYERS = ("relu", "layer1", "layer2", "layer3")
SHOWN = 3  # of the cases, the one that is drawn


def main(figure, count=60):
    seen = cases("demo:digits", int(count))
    numbers, rows = {}, []
    for method, title in METHODS.items():
        row = [seen.cell(SHOWN)]
        for layer in LAYERS:
            heatmap = camport.explain(seen.loaded.model, seen.images, method, seen.targets, layer=layer).heatmap
            scores = [
                float(metric(heatmap, seen.regions).mean()) for metric in (PointingGame(margin=4), EnergyInRegion())
            ]
            numbers[method, layer] = scores
            print(f"{title} at {layer}: pointing game {scores[0]:.2f}, energy in the boxes {scores[1]:.3f}")
            picture = overlay(seen.scenes[SHOWN].image, heatmap[SHOWN].numpy(), alpha=0.6)
            row.append(Cell(picture, f"points right in {scores[0]:.0%}"))
        rows.append(row)
    print(f"chance {float(seen.regions.float().mean()):.3f}")
    heads = ["scene", "stem, 64 x 64", "layer1, 64 x 64", "layer2, 32 x 32", "layer3, 16 x 16"]
    save_image(figure, grid(rows, columns=heads, row_labels=list(METHODS.values()), cell=160), quality=80)
    return numbers


if __name__ == "__main__":
    main(*sys.argv[1:])
