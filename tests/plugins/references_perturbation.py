"""References of methods that run the model many times or differentiate to the image;
see `references`."""

import math

import torch

from tests.plugins.references import parts, reference, weighted


def score(model, x, c, probability=False):
    """y^c, or the probability of c, of one image [3,H,W] as a Python float."""
    with torch.no_grad():
        z = model(x[None])[0].tolist()
    if not probability:
        return z[c]
    highest = max(z)
    return math.exp(z[c] - highest) / math.fsum(math.exp(v - highest) for v in z)


def resized(m, height, width):
    """Bilinear, pixel centres at half places, by hand."""
    h, w = len(m), len(m[0])

    def taps(i, n, size):
        at = min(max((i + 0.5) * n / size - 0.5, 0.0), n - 1.0)
        low = min(int(at), n - 1)
        return low, min(low + 1, n - 1), at - low

    rows, columns = (
        [taps(i, h, height) for i in range(height)],
        [taps(j, w, width) for j in range(width)],
    )
    return [
        [
            (1 - v) * ((1 - u) * m[i0][j0] + u * m[i0][j1])
            + v * ((1 - u) * m[i1][j0] + u * m[i1][j1])
            for j0, j1, u in columns
        ]
        for i0, i1, v in rows
    ]


def scaled(m):
    low, high = min(map(min, m)), max(map(max, m))
    return [[(v - low) / (high - low) if high > low else 0.0 for v in row] for row in m]


def seen(x, m):
    """The image through a mask of its size."""
    return x * torch.tensor(m, dtype=x.dtype)


@reference("scorecam")
def scorecam(model, x, c):
    a, _ = parts(model, x, c)
    _, height, width = x.shape
    return weighted(
        [score(model, seen(x, scaled(resized(m, height, width))), c, True) for m in a], a
    )
