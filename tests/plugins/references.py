"""Each method once more: slow, in float64, by loops, straight from its paper.
`@reference(name)` ties it to the method.

A reference gets the model cut in two (`features`, `head`), one image and one class, and calls
nothing of camport.
"""

import math
from collections.abc import Callable

import torch

REFERENCES: dict[str, Callable] = {}


def reference(name: str) -> Callable:
    def tie(function: Callable) -> Callable:
        REFERENCES[name] = function
        return function

    return tie


def parts(model, x, c):
    """A [c][h][w] and G = dy/dA as nested lists of Python floats."""
    a = model.features(x[None]).detach().requires_grad_()
    (g,) = torch.autograd.grad(model.head(a)[0, c], a)
    return a.detach()[0].tolist(), g[0].tolist()


def shape(a):
    return len(a), len(a[0]), len(a[0][0])


def weighted(weights, a):
    k, h, w = shape(a)
    return [
        [max(0.0, sum(weights[n] * a[n][i][j] for n in range(k))) for j in range(w)]
        for i in range(h)
    ]


@reference("gradcam")
def gradcam(model, x, c):
    a, g = parts(model, x, c)
    k, h, w = shape(a)
    return weighted([sum(map(sum, g[n])) / (h * w) for n in range(k)], a)


@reference("gradcam++")
def gradcam_plus_plus(model, x, c):
    """Eq. 19 and 5, with G^2 and G^3 as they stand."""
    a, g = parts(model, x, c)
    k, h, w = shape(a)
    weights = []
    for n in range(k):
        total, weight = math.fsum(map(math.fsum, a[n])), 0.0
        for i in range(h):
            for j in range(w):
                d = 2 * g[n][i][j] ** 2 + total * g[n][i][j] ** 3
                alpha = g[n][i][j] ** 2 / d if d != 0 else 0.0
                weight += alpha * max(0.0, g[n][i][j])
        weights.append(weight)
    return weighted(weights, a)


@reference("hirescam")
def hirescam(model, x, c):
    a, g = parts(model, x, c)
    k, h, w = shape(a)
    return [
        [max(0.0, sum(g[n][i][j] * a[n][i][j] for n in range(k))) for j in range(w)]
        for i in range(h)
    ]


@reference("xgradcam")
def xgradcam(model, x, c):
    a, g = parts(model, x, c)
    k, h, w = shape(a)
    weights = []
    for n in range(k):
        total = sum(map(sum, a[n]))
        share = (
            sum(a[n][i][j] / total * g[n][i][j] for i in range(h) for j in range(w))
            if total
            else 0.0
        )
        weights.append(share)
    return weighted(weights, a)


@reference("layercam")
def layercam(model, x, c):
    a, g = parts(model, x, c)
    k, h, w = shape(a)
    return [
        [max(0.0, sum(max(0.0, g[n][i][j]) * a[n][i][j] for n in range(k))) for j in range(w)]
        for i in range(h)
    ]


@reference("feature_maps")
def feature_maps(model, x, c):
    a, _ = parts(model, x, c)
    k, h, w = shape(a)
    return [[sum(a[n][i][j] for n in range(k)) / k for j in range(w)] for i in range(h)]


@reference("saliency")
def saliency(model, x, c):
    """Central differences instead of a gradient: nothing here knows backpropagation."""
    step = 1e-6
    channels, h, w = x.shape
    found = [[0.0] * w for _ in range(h)]
    for n in range(channels):
        for i in range(h):
            for j in range(w):
                up, down = x.clone(), x.clone()
                up[n, i, j] += step
                down[n, i, j] -= step
                with torch.no_grad():
                    y = [float(model.head(model.features(v[None]))[0, c]) for v in (up, down)]
                found[i][j] = max(found[i][j], abs(y[0] - y[1]) / (2 * step))
    return found


@reference("cam")
def cam(model, x, c):
    a, _ = parts(model, x, c)
    k, h, w = shape(a)
    row = model.fc.weight[c].tolist()
    return [[sum(row[n] * a[n][i][j] for n in range(k)) for j in range(w)] for i in range(h)]
