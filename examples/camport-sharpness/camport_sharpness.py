"""Sharpness: how much a map changes from pixel to pixel.

A complete camport plugin that adds a metric. It needs the map alone, so that it implements
`__call__`; a metric that asks the model implements `measure(case)`, see docs/metrics.md.

    sum |L_ij - L_i'j'| over neighbours / sum L_ij
"""

import torch

import camport


class Sharpness(camport.Metric):
    name, title, paper = "sharpness", "Sharpness", "-"
    needs = frozenset()  # of "region", "model", "explain"
    better = "higher"
    range = (0.0, 4.0)  # each pixel has four neighbours

    def __call__(self, heatmap, region=None):
        """The sum of differences between neighbours over the sum of values, [b]; 0 for a flat map."""
        down = (heatmap[:, 1:] - heatmap[:, :-1]).abs().sum((1, 2))
        across = (heatmap[:, :, 1:] - heatmap[:, :, :-1]).abs().sum((1, 2))
        total = heatmap.sum((1, 2))
        return (down + across) / torch.where(total > 0, total, 1)


@camport.hookimpl
def camport_metrics():
    return [Sharpness]
