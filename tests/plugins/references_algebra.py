"""References of the methods that are algebra on activations and gradients (see
`tests.plugins.references`)."""

import math

import torch

from tests.plugins.references import parts, reference, shape, weighted


@reference("gradcam_elementwise")
def gradcam_elementwise(model, x, c):
    a, g = parts(model, x, c)
    k, h, w = shape(a)
    return [
        [sum(max(0.0, g[n][i][j] * a[n][i][j]) for n in range(k)) for j in range(w)]
        for i in range(h)
    ]


def jacobi(m):
    """Eigenvalues and eigenvectors of a symmetric matrix by Jacobi's rotations."""
    n = len(m)
    m, v = [row[:] for row in m], [[float(i == j) for j in range(n)] for i in range(n)]
    for _ in range(60):
        for p in range(n):
            for q in range(p + 1, n):
                if abs(m[p][q]) < 1e-300:
                    continue
                theta = (m[q][q] - m[p][p]) / (2 * m[p][q])
                t = math.copysign(1, theta) / (abs(theta) + math.sqrt(theta * theta + 1))
                cos = 1 / math.sqrt(t * t + 1)
                sin = t * cos
                for i in range(n):
                    m[i][p], m[i][q] = cos * m[i][p] - sin * m[i][q], sin * m[i][p] + cos * m[i][q]
                for i in range(n):
                    m[p][i], m[q][i] = cos * m[p][i] - sin * m[q][i], sin * m[p][i] + cos * m[q][i]
                for i in range(n):
                    v[i][p], v[i][q] = cos * v[i][p] - sin * v[i][q], sin * v[i][p] + cos * v[i][q]
        if sum(m[i][j] ** 2 for i in range(n) for j in range(n) if i != j) < 1e-28 * sum(
            m[i][i] ** 2 for i in range(n)
        ):
            break
    best = max(range(n), key=lambda i: m[i][i])
    return m[best][best], [v[i][best] for i in range(n)]


def places(maps, centre):
    """One row of channels a place, less each channel's mean where wanted."""
    k, h, w = shape(maps)
    rows = [[maps[n][i][j] for n in range(k)] for i in range(h) for j in range(w)]
    if centre:
        means = [math.fsum(row[n] for row in rows) / len(rows) for n in range(k)]
        rows = [[row[n] - means[n] for n in range(k)] for row in rows]
    return rows


def with_the_mean(values, rows):
    """The sign of a component: that of the mean over channels."""
    side = sum(v * sum(row) for v, row in zip(values, rows, strict=True))
    return [v if side >= 0 else -v for v in values]


def folded(values, h, w):
    return [values[i * w : (i + 1) * w] for i in range(h)]


def projected(maps, centre):
    k, h, w = shape(maps)
    rows = places(maps, centre)
    _, v = jacobi([[sum(row[m] * row[n] for row in rows) for n in range(k)] for m in range(k)])
    return folded(with_the_mean([sum(row[n] * v[n] for n in range(k)) for row in rows], rows), h, w)


@reference("eigencam")
def eigencam(model, x, c):
    a, _ = parts(model, x, c)
    return projected(a, centre=False)


@reference("eigengradcam")
def eigengradcam(model, x, c):
    a, g = parts(model, x, c)
    k, h, w = shape(a)
    return projected(
        [[[g[n][i][j] * a[n][i][j] for j in range(w)] for i in range(h)] for n in range(k)],
        centre=True,
    )


@reference("kpcacam")
def kpcacam(model, x, c):
    """Kernel PCA with the sigmoid kernel: the centred kernel matrix's first eigenvector,
    as long as its eigenvalue."""
    a, _ = parts(model, x, c)
    k, h, w = shape(a)
    rows = places(a, centre=True)
    p = len(rows)
    kernel = [[math.tanh(sum(map(lambda s, t: s * t, r, q)) / k + 1) for q in rows] for r in rows]
    means = [sum(row) / p for row in kernel]
    total = sum(means) / p
    centred = [[kernel[i][j] - means[i] - means[j] + total for j in range(p)] for i in range(p)]
    value, u = jacobi(centred)
    return folded(with_the_mean([math.sqrt(value) * s for s in u], rows), h, w)


@reference("fem")
def fem(model, x, c):
    a, _ = parts(model, x, c)
    k, h, w = shape(a)
    found = [[0.0] * w for _ in range(h)]
    for n in range(k):
        values = [v for row in a[n] for v in row]
        mean = math.fsum(values) / len(values)
        deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))
        for i in range(h):
            for j in range(w):
                if a[n][i][j] > mean + 2 * deviation:
                    found[i][j] += mean
    return found


@reference("odam")
def odam(model, x, c):
    """Gradients smoothed by a Gaussian of one cell, cut off at three."""
    a, g = parts(model, x, c)
    k, h, w = shape(a)
    taps = {d: math.exp(-d * d / 2) for d in range(-3, 4)}
    total = sum(taps.values())
    found = [[0.0] * w for _ in range(h)]
    for i in range(h):
        for j in range(w):
            for n in range(k):
                smooth = sum(
                    taps[q - i] * taps[r - j] / total**2 * g[n][q][r]
                    for q in range(max(0, i - 3), min(h, i + 4))
                    for r in range(max(0, j - 3), min(w, j + 4))
                )
                found[i][j] += smooth * a[n][i][j]
    return [[max(0.0, v) for v in row] for row in found]


@reference("shapleycam")
def shapleycam(model, x, c):
    """The Hessian's product with A as a difference of gradients along A."""
    a, g = parts(model, x, c)
    k, h, w = shape(a)
    step = 1e-4

    def gradient(scale):
        leaf = (scale * torch.tensor(a, dtype=torch.float64)[None]).requires_grad_()
        return torch.autograd.grad(model.head(leaf)[0, c], leaf)[0][0].tolist()

    up, down = gradient(1 + step), gradient(1 - step)
    weights = []
    for n in range(k):
        curvature = sum(
            (up[n][i][j] - down[n][i][j]) / (2 * step) for i in range(h) for j in range(w)
        )
        weights.append((sum(map(sum, g[n])) - curvature / 2) / (h * w))
    return weighted(weights, a)


@reference("dff")
def dff(model, x, c):
    """Coordinate descent entry by entry, 4 concepts, from the places that are least alike."""
    a, _ = parts(model, x, c)
    k, h, w = shape(a)
    x = [[max(0.0, v) for v in row] for row in places(a, centre=False)]
    n, p = 4, len(x)
    rest, concepts = [row[:] for row in x], []
    for _ in range(n):
        longest = max(range(p), key=lambda i: sum(v * v for v in rest[i]))
        concepts.append(x[longest][:])
        length = math.sqrt(sum(v * v for v in rest[longest]))
        direction = [v / length for v in rest[longest]]
        along = [sum(s * t for s, t in zip(row, direction, strict=True)) for row in rest]
        rest = [
            [v - s * d for v, d in zip(row, direction, strict=True)]
            for row, s in zip(rest, along, strict=True)
        ]
    where = [[0.0] * n for _ in range(p)]
    error = math.inf
    for _ in range(500):
        for f in range(n):
            square = sum(v * v for v in concepts[f])
            for i in range(p):
                left = [
                    x[i][m] - sum(where[i][q] * concepts[q][m] for q in range(n)) for m in range(k)
                ]
                step = sum(s * t for s, t in zip(left, concepts[f], strict=True)) / square
                where[i][f] = max(0.0, where[i][f] + step)
        for f in range(n):
            square = sum(where[i][f] ** 2 for i in range(p))
            for m in range(k):
                left = [
                    x[i][m] - sum(where[i][q] * concepts[q][m] for q in range(n)) for i in range(p)
                ]
                concepts[f][m] = max(
                    0.0, concepts[f][m] + sum(where[i][f] * left[i] for i in range(p)) / square
                )
        before = error
        error = sum(
            (x[i][m] - sum(where[i][q] * concepts[q][m] for q in range(n))) ** 2
            for i in range(p)
            for m in range(k)
        )
        if before - error <= 4e-5 * error:
            break
    lengths = [math.sqrt(sum(v * v for v in concepts[f])) for f in range(n)]
    first = max(range(n), key=lambda f: lengths[f] * sum(where[i][f] for i in range(p)))
    return folded([where[i][first] * lengths[first] for i in range(p)], h, w)


@reference("finercam")
def finercam(model, x, c):
    """Grad-CAM of each difference from one of the three nearest classes, of strength 0.6,
    averaged before the ReLU."""
    with torch.no_grad():
        y = model(x[None])[0].tolist()
    near = sorted((d for d in range(len(y)) if d != c), key=lambda d: abs(y[d] - y[c]))[:3]
    (a, own), others = parts(model, x, c), [parts(model, x, d)[1] for d in near]
    k, h, w = shape(a)
    weights = []
    for n in range(k):
        differences = [
            own[n][i][j] - 0.6 * g[n][i][j] for g in others for i in range(h) for j in range(w)
        ]
        weights.append(sum(differences) / (3 * h * w))
    return weighted(weights, a)
