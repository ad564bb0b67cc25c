"""Score-CAM beside Grad-CAM and Grad-CAM++: python examples/scorecam_comparison.py FIGURE.jpg"""

import sys

from cases import cases

import camport
from camport.core.case import Case
from camport.metrics import AverageDrop, Deletion, EnergyInRegion, IncreaseInConfidence, Insertion
from camport.view import grid, overlay, save_image

METHODS = ("gradcam", "gradcam++", "scorecam")
METRICS = {
    "average drop": AverageDrop(),
    "increase": IncreaseInConfidence(),
    "insertion": Insertion(steps=16),
    "deletion": Deletion(steps=16),
    "energy": EnergyInRegion(),
}
SHOWN = (0, 3, 5)


def main(figure, count=20):
    seen = cases("demo:digits", int(count))
    numbers, columns = {}, [[seen.cell(i) for i in SHOWN]]
    for method in METHODS:
        bound = camport.bind(seen.loaded.model, method, layer="layer3")
        case = Case.of(bound, seen.images, seen.targets, seen.regions)
        numbers[method] = {name: float(metric.measure(case).mean()) for name, metric in METRICS.items()}
        print(method, ", ".join(f"{name} {value:.3f}" for name, value in numbers[method].items()))
        columns.append([overlay(seen.scenes[i].image, case.heatmap[i].numpy(), alpha=0.6) for i in SHOWN])
    heads = ["scene", *(camport.methods()[method].title for method in METHODS)]
    save_image(figure, grid(list(zip(*columns, strict=True)), columns=heads, cell=160), quality=85)
    return numbers


if __name__ == "__main__":
    main(*sys.argv[1:])
