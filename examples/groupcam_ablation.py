"""Group-CAM by its number of groups and its threshold: python examples/groupcam_ablation.py FIGURE.png"""

import sys

from cases import cases
from matplotlib.figure import Figure

import camport
from camport.core.case import Case
from camport.metrics import Deletion, EnergyInRegion, Insertion
from camport.plugins import GroupCAM

GROUPS = (1, 2, 4, 8, 16, 32, 96)
THETAS = (0.0, 30.0, 50.0, 70.0, 90.0)
METRICS = {"insertion": Insertion(steps=16), "deletion": Deletion(steps=32), "energy in the boxes": EnergyInRegion()}


def main(figure, count=16, groups=GROUPS, thetas=THETAS):
    seen = cases("demo:digits", int(count))

    def scores(method):
        bound = camport.bind(seen.loaded.model, method, layer="layer3")
        case = Case.of(bound, seen.images, seen.targets, seen.regions)
        found = {name: float(metric.measure(case).mean()) for name, metric in METRICS.items()}
        print(f"G = {method.groups}, theta = {method.theta}:", ", ".join(f"{k} {v:.3f}" for k, v in found.items()))
        return found

    sweeps = {"G": [scores(GroupCAM(n)) for n in groups], "theta": [scores(GroupCAM(theta=t)) for t in thetas]}
    drawn = Figure(figsize=(8, 3), layout="constrained")
    for axis, (name, found), values in zip(drawn.subplots(1, 2), sweeps.items(), (groups, thetas), strict=True):
        for metric in METRICS:
            axis.plot(range(len(values)), [one[metric] for one in found], marker="o", label=metric)
        axis.set(xticks=range(len(values)), xticklabels=[f"{value:g}" for value in values], xlabel=name, ylim=(0, 1))
    axis.legend()
    drawn.savefig(figure, dpi=100)
    return sweeps


if __name__ == "__main__":
    main(*sys.argv[1:])
