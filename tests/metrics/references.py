"""Each metric once more: slow, in Python's floats, by loops, straight from its paper.
`@reference(name)` ties it.

A reference gets one `Asked` and calls nothing of camport.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tests.plugins.references_input import uniform

REFERENCES: dict[str, Callable] = {}


def reference(name: str) -> Callable:
    def tie(function: Callable) -> Callable:
        REFERENCES[name] = function
        return function

    return tie


@dataclass
class Asked:
    """One image: `x` [c][h][w], maps and region [h][w] as nested lists;
    `model` is a torch module."""

    model: Any
    x: list
    c: int
    heat: list
    raw: list
    region: list
    explain: Callable

    @property
    def size(self):
        return len(self.heat), len(self.heat[0])

    def logits(self, x):
        with torch.no_grad():
            return self.model(torch.tensor([x], dtype=torch.float64))[0].tolist()

    def y(self, x):
        return self.logits(x)[self.c]

    def p(self, x):
        z = self.logits(x)
        return math.exp(z[self.c]) / sum(map(math.exp, z))


def pixels(a):
    h, w = a.size
    return [(i, j) for i in range(h) for j in range(w)]


def changed(a, x, other, places):
    """x with the pixels of `other` at `places`."""
    found = [[list(row) for row in channel] for channel in x]
    for i, j in places:
        for n in range(len(x)):
            found[n][i][j] = other[n][i][j]
    return found


def zeros(a):
    h, w = a.size
    return [[[0.0] * w for _ in range(h)] for _ in a.x]


def gaussian(a, kernel, sigma):
    """Mirrored at the edges, as numpy's "reflect" pads; no wider than the image allows."""
    h, w = a.size

    def mirrored(i, n):
        i = abs(i)
        return i if i < n else 2 * (n - 1) - i

    def weights(n):
        r = min(kernel // 2, n - 1)
        raw = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(-r, r + 1)]
        return r, [v / sum(raw) for v in raw]

    found = []
    for channel in a.x:
        r, k = weights(h)
        down = [
            [
                sum(k[d + r] * channel[mirrored(i + d, h)][j] for d in range(-r, r + 1))
                for j in range(w)
            ]
            for i in range(h)
        ]
        r, k = weights(w)
        found.append(
            [
                [
                    sum(k[d + r] * down[i][mirrored(j + d, w)] for d in range(-r, r + 1))
                    for j in range(w)
                ]
                for i in range(h)
            ]
        )
    return found


def ordered(a):
    """Pixels, the largest value first; Python's sort leaves equal ones in reading order."""
    return sorted(pixels(a), key=lambda p: -a.heat[p[0]][p[1]])


def curve(a, start, end, steps=100):
    order = ordered(a)
    n = len(order)
    steps = min(steps, n)
    return [
        a.p(changed(a, start, end, order[: math.floor(i * n / steps + 0.5)]))
        for i in range(steps + 1)
    ]


def auc(values):
    return (sum(values) - values[0] / 2 - values[-1] / 2) / (len(values) - 1)


@reference("insertion")
def insertion(a):
    return auc(curve(a, gaussian(a, 51, 50.0), a.x))


@reference("deletion")
def deletion(a):
    return auc(curve(a, a.x, zeros(a)))


@reference("insertion_deletion")
def insertion_deletion(a):
    return insertion(a) - deletion(a)


def through(a):
    return [
        [[a.heat[i][j] * v for j, v in enumerate(row)] for i, row in enumerate(channel)]
        for channel in a.x
    ]


@reference("average_drop")
def average_drop(a):
    y, o = a.p(a.x), a.p(through(a))
    return max(0.0, y - o) / y


@reference("increase_in_confidence")
def increase(a):
    return 1.0 if a.p(a.x) < a.p(through(a)) else 0.0


@reference("average_gain")
def average_gain(a):
    y, o = a.p(a.x), a.p(through(a))
    return max(0.0, o - y) / (1 - y)


NEAR = {
    (d, e): (1 / 6 if d == 0 or e == 0 else 1 / 12)
    for d in (-1, 0, 1)
    for e in (-1, 0, 1)
    if d or e
}


def imputed(a, missing):
    """Each equation written down, and the system solved by elimination."""
    h, w = a.size
    number = {p: n for n, p in enumerate(missing)}
    system = torch.zeros(len(missing), len(missing), dtype=torch.float64)
    right = torch.zeros(len(missing), len(a.x), dtype=torch.float64)
    for (i, j), n in number.items():
        for (d, e), weight in NEAR.items():
            q = (i + d, j + e)
            if not (0 <= q[0] < h and 0 <= q[1] < w):
                continue
            system[n, n] += weight
            if q in number:
                system[n, number[q]] -= weight
            else:
                for channel in range(len(a.x)):
                    right[n, channel] += weight * a.x[channel][q[0]][q[1]]
    solved = torch.linalg.solve(system, right).tolist()
    found = [[list(row) for row in channel] for channel in a.x]
    half = (len(a.x) * h * w + 1) // 2
    u = uniform(0, 0, 2 * half)
    lengths = [math.sqrt(-2 * math.log(v)) for v in u[:half]]
    angles = [2 * math.pi * v for v in u[half:]]
    noise = [r * math.cos(t) for r, t in zip(lengths, angles, strict=True)]
    noise += [r * math.sin(t) for r, t in zip(lengths, angles, strict=True)]
    for (i, j), n in number.items():
        for channel in range(len(a.x)):
            found[channel][i][j] = solved[n][channel] + 0.01 * noise[channel * h * w + i * w + j]
    return found


def removed(a, order):
    n = len(order)
    return [a.p(imputed(a, order[: round(s * n / 10)])) for s in range(1, 10)]


@reference("road_morf")
def road_morf(a):
    return sum(removed(a, ordered(a))) / 9


@reference("road_lerf")
def road_lerf(a):
    return sum(removed(a, ordered(a)[::-1])) / 9


@reference("road")
def road(a):
    return (road_lerf(a) - road_morf(a)) / 2


@reference("pointing_game")
def pointing_game(a):
    top = max(map(max, a.heat))
    places = [p for p in pixels(a) if a.heat[p[0]][p[1]] == top]
    assert len(places) == 1
    return 1.0 if a.region[places[0][0]][places[0][1]] else 0.0


@reference("energy_in_region")
def energy(a):
    return sum(a.heat[i][j] for i, j in pixels(a) if a.region[i][j]) / sum(map(sum, a.heat))


@reference("sparsity")
def sparsity(a):
    """Half the mean difference of two values, over their mean:
    what the sorted sum is an identity for."""
    values = [v for row in a.heat for v in row]
    n = len(values)
    return sum(abs(v - w) for v in values for w in values) / (2 * n * sum(values))


@reference("entropy")
def entropy(a):
    values = [v for row in a.heat for v in row]
    return -sum(v / sum(values) * math.log(v / sum(values)) for v in values if v)


def norm(values):
    return math.sqrt(math.fsum(v * v for v in values))


@reference("max_sensitivity")
def max_sensitivity(a):
    h, w = a.size
    clean, worst = [v for row in a.heat for v in row], 0.0
    for number in range(10):
        u = uniform(0, number, len(a.x) * h * w)
        near = [
            [
                [v + 0.02 * (2 * u[(n * h + i) * w + j] - 1) for j, v in enumerate(row)]
                for i, row in enumerate(channel)
            ]
            for n, channel in enumerate(a.x)
        ]
        other = [v for row in a.explain(near) for v in row]
        worst = max(worst, norm([s - t for s, t in zip(other, clean, strict=True)]) / norm(clean))
    return worst


def laid(a):
    """The raw map at the image's size: bilinear, pixel centres on pixel centres,
    constant beyond the outermost."""
    (h, w), (m, n) = a.size, (len(a.raw), len(a.raw[0]))

    def at(i, size, cells):
        place = min(max((i + 0.5) * cells / size - 0.5, 0.0), cells - 1.0)
        low = min(int(place), cells - 2)
        return low, place - low

    found = [[0.0] * w for _ in range(h)]
    for i, j in pixels(a):
        (r, s), (c, t) = at(i, h, m), at(j, w, n)
        upper = (1 - t) * a.raw[r][c] + t * a.raw[r][c + 1]
        lower = (1 - t) * a.raw[r + 1][c] + t * a.raw[r + 1][c + 1]
        found[i][j] = (1 - s) * upper + s * lower
    return found


@reference("infidelity")
def infidelity(a):
    h, w = a.size
    largest, values, named, lost = max(1, round(0.5 * min(h, w))), laid(a), [], []
    for number in range(100):
        u = uniform(0, number, 3)
        side = 1 + math.floor(u[0] * largest)
        top, left = math.floor(u[1] * (h - side + 1)), math.floor(u[2] * (w - side + 1))
        square = [(i, j) for i in range(top, top + side) for j in range(left, left + side)]
        named.append(sum(values[i][j] for i, j in square))
        lost.append(a.y(a.x) - a.y(changed(a, a.x, zeros(a), square)))
    beta = sum(s * t for s, t in zip(named, lost, strict=True)) / sum(s * s for s in named)
    return sum((beta * s - t) ** 2 for s, t in zip(named, lost, strict=True)) / 100


@reference("completeness")
def completeness(a):
    wanted = a.y(a.x) - a.y(zeros(a))
    return abs(sum(map(sum, a.raw)) - wanted) / abs(wanted)
