"""References of methods that differentiate to the image, or change one thing at a time;
see `references`."""

import math

import numpy as np
import torch

from camport.plugins.xrai import segments
from tests.plugins.references import parts, reference, weighted
from tests.plugins.references_perturbation import resized, scaled, score, seen

PRIME = 2**31 - 1


def gradient(model, x, c):
    leaf = x[None].detach().requires_grad_()
    return torch.autograd.grad(model(leaf)[0, c], leaf)[0][0]


def largest(image):
    """max over channels of the magnitude, as nested lists."""
    channels = image.tolist()
    return [
        [max(abs(p[i][j]) for p in channels) for j in range(len(channels[0][0]))]
        for i in range(len(channels[0]))
    ]


def ruled(grad, before, rule):
    """The gradient behind a ReLU brought before it, value by value."""
    values = [
        rule(g, u) for g, u in zip(grad.flatten().tolist(), before.flatten().tolist(), strict=True)
    ]
    return torch.tensor(values, dtype=grad.dtype).reshape(grad.shape)


def backward(model, x, c, rule):
    """R at the image: the network taken apart at its two ReLUs,
    each stretch between differentiated alone."""
    first, second, last = model.features[:2], model.features[3:], model.head[1:]
    x = x[None].detach().requires_grad_()
    u1 = first(x)
    a1 = u1.detach().clamp(min=0).requires_grad_()
    u2 = second(a1)
    a2 = u2.detach().clamp(min=0).requires_grad_()
    (r,) = torch.autograd.grad(last(a2)[0, c], a2)
    (r,) = torch.autograd.grad(u2, a1, ruled(r, u2, rule))
    (r,) = torch.autograd.grad(u1, x, ruled(r, u1, rule))
    return r[0]


def guided(model, x, c):
    return backward(model, x, c, lambda g, u: g if g > 0 and u > 0 else 0.0)


@reference("guided_backprop")
def guided_backprop(model, x, c):
    return largest(guided(model, x, c))


@reference("deconvnet")
def deconvnet(model, x, c):
    return largest(backward(model, x, c, lambda g, u: max(g, 0.0)))


@reference("guided_gradcam")
def guided_gradcam(model, x, c):
    a, g = parts(model, x, c)
    cam = weighted([sum(map(sum, plane)) / (len(plane) * len(plane[0])) for plane in g], a)
    return largest(guided(model, x, c) * torch.tensor(resized(cam, *x.shape[1:]), dtype=x.dtype))


@reference("integrated_gradients")
def integrated_gradients(model, x, c):
    """Fifty Gauss-Legendre points between black and the image."""
    places, weights = np.polynomial.legendre.leggauss(50)
    total = torch.zeros_like(x)
    for place, weight in zip(places, weights, strict=True):
        total += weight / 2 * gradient(model, x * (place + 1) / 2, c)
    return (x * total).sum(0).tolist()


def mixed(h):
    """The hash of camport.core.maps.noise in Python's own integers."""
    h %= PRIME
    h = (h * h + h * 48271 + 1103515245) % PRIME
    return (h * (h + 40692) * 1103515245 + 48271) % PRIME


def uniform(seed, number, count):
    row = mixed(mixed(number * 40692 + seed))
    found = []
    for column in range(count):
        h = (row + mixed(column * 48271 + seed)) % PRIME
        h = h * (h + 1103515245) % PRIME
        h = h * (h + row + 40692) % PRIME
        found.append((h + 0.5) / PRIME)
    return found


def noise(seed, number, count):
    half = math.ceil(count / 2)
    u = uniform(seed, number, 2 * half)
    pairs = [(math.sqrt(-2 * math.log(u[i])), 2 * math.pi * u[half + i]) for i in range(half)]
    return [*(r * math.cos(t) for r, t in pairs), *(r * math.sin(t) for r, t in pairs)][:count]


@reference("smoothgrad")
def smoothgrad(model, x, c):
    sigma = 0.15 * (x.max() - x.min()).item()
    total = torch.zeros_like(x)
    for k in range(50):
        drawn = torch.tensor(noise(0, k, x.numel()), dtype=x.dtype).reshape(x.shape)
        total += gradient(model, x + sigma * drawn, c) / 50
    return largest(total)


@reference("occlusion")
def occlusion(model, x, c):
    """Black patches of a seventh of the sides, half a patch apart;
    a pixel has the mean of the falls that hit it."""
    _, height, width = x.shape
    ph, pw = math.ceil(height / 7), math.ceil(width / 7)
    sh, sw = math.ceil(ph / 2), math.ceil(pw / 2)
    fall = [[[] for _ in range(width)] for _ in range(height)]
    tops, lefts = range(0, height - ph + sh, sh), range(0, width - pw + sw, sw)
    for top in tops:
        for left in lefts:
            covered = x.clone()
            covered[:, top : top + ph, left : left + pw] = 0
            d = score(model, x, c) - score(model, covered, c)
            for i in range(top, min(top + ph, height)):
                for j in range(left, min(left + pw, width)):
                    fall[i][j].append(d)
    return [[math.fsum(v) / len(v) for v in row] for row in fall]


@reference("ablationcam")
def ablationcam(model, x, c):
    a = model.features(x[None]).detach()
    y = model.head(a)[0, c].item()
    weights = []
    for k in range(a.shape[1]):
        without = a.clone()
        without[0, k] = 0
        weights.append((y - model.head(without)[0, c].item()) / y)
    return weighted(weights, a[0].tolist())


@reference("reciprocam")
def reciprocam(model, x, c):
    """Each place's features alone, a half of them one step aside and a quarter of them across."""
    a = model.features(x[None]).detach()
    h, w = a.shape[2:]
    result = [[0.0] * w for _ in range(h)]
    for i in range(h):
        for j in range(w):
            shown = torch.zeros_like(a)
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    if 0 <= i + di < h and 0 <= j + dj < w:
                        shown[0, :, i + di, j + dj] = (
                            a[0, :, i, j] * (2 - abs(di)) * (2 - abs(dj)) / 16
                        )
            result[i][j] = model.head(shown)[0, c].item()
    return result


@reference("iscam")
def iscam(model, x, c):
    a, _ = parts(model, x, c)
    scales = [sum(j / 10 for j in range(i)) for i in range(1, 11)]
    weights = []
    for m in a:
        masked = seen(x, scaled(resized(m, *x.shape[1:])))
        weights.append(math.fsum(score(model, s * masked, c, True) for s in scales) / 10)
    return weighted(weights, a)


@reference("sscam")
def sscam(model, x, c):
    a, _ = parts(model, x, c)
    weights = []
    for m in a:
        mask = torch.tensor(scaled(resized(m, *x.shape[1:])), dtype=x.dtype)
        total = 0.0
        for i in range(35):
            drawn = torch.tensor(noise(0, i, mask.numel()), dtype=x.dtype).reshape(mask.shape)
            total += score(model, x * (mask + 2 * drawn), c, True)
        weights.append(total / 35)
    return weighted(weights, a)


@reference("rise")
def rise(model, x, c):
    """200 grids of 7 x 7, each upsampled to 8 x 8 cells and cut out at a random place."""
    _, height, width = x.shape
    ch, cw = math.ceil(height / 7), math.ceil(width / 7)
    total = [[0.0] * width for _ in range(height)]
    for n in range(200):
        u = uniform(0, n, 51)
        grid = [[float(u[7 * i + j] < 0.5) for j in range(7)] for i in range(7)]
        large = resized(grid, 8 * ch, 8 * cw)
        top, left = int(u[49] * ch), int(u[50] * cw)
        mask = [row[left : left + width] for row in large[top : top + height]]
        p = score(model, seen(x, mask), c, True)
        for i in range(height):
            for j in range(width):
                total[i][j] += p * mask[i][j] / (200 * 0.5)
    return total


@reference("drise")
def drise(model, x, c):
    """Of a classifier: 60 grids of 4 x 4, each upsampled to 5 x 5 cells and cut out at a random
    place."""
    _, height, width = x.shape
    ch, cw = math.ceil(height / 4), math.ceil(width / 4)
    total = [[0.0] * width for _ in range(height)]
    for n in range(60):
        u = uniform(0, n, 18)
        large = resized(
            [[float(u[4 * i + j] < 0.5) for j in range(4)] for i in range(4)], 5 * ch, 5 * cw
        )
        top, left = int(u[16] * ch), int(u[17] * cw)
        mask = [row[left : left + width] for row in large[top : top + height]]
        p = score(model, seen(x, mask), c, True)
        for i in range(height):
            for j in range(width):
                total[i][j] += p * mask[i][j] / (60 * 0.5)
    return total


def blurred(x):
    """A Gaussian of 51 pixels, no wider than the mirrored image allows,
    and standard deviation 50."""

    def along(values):
        n = len(values)
        r = min(25, n - 1)
        kernel = [math.exp(-(d**2) / (2 * 50**2)) for d in range(-r, r + 1)]
        mirror = [abs(i) if i < n else 2 * (n - 1) - i for i in range(-r, n + r)]
        return [
            math.fsum(kernel[d] * values[mirror[i + d]] for d in range(2 * r + 1))
            / math.fsum(kernel)
            for i in range(n)
        ]

    planes = []
    for plane in x.tolist():
        down = list(zip(*(along(column) for column in zip(*plane, strict=True)), strict=True))
        planes.append([along(row) for row in down])
    return torch.tensor(planes, dtype=x.dtype)


@reference("groupcam")
def groupcam(model, x, c):
    """As many groups as channels here, since there are fewer than 32."""
    a, g = parts(model, x, c)
    h, w = len(a[0]), len(a[0][0])
    background = blurred(x)
    baseline, weights, masks = score(model, background, c, True), [], []
    for plane, grad in zip(a, g, strict=True):
        alpha = sum(map(sum, grad)) / (h * w)
        m = [[max(0.0, alpha * v) for v in row] for row in plane]
        values = sorted(v for row in m for v in row)
        place = 0.7 * (len(values) - 1)
        low = values[int(place)]
        threshold = low + (values[min(int(place) + 1, len(values) - 1)] - low) * (
            place - int(place)
        )
        m = scaled([[v if v > threshold else 0.0 for v in row] for row in m])
        mask = torch.tensor(resized(m, *x.shape[1:]), dtype=x.dtype)
        weights.append(score(model, x * mask + background * (1 - mask), c, True) - baseline)
        masks.append(m)
    return weighted(weights, masks)


@reference("smoothgradcam++")
def smoothgradcam_plus_plus(model, x, c):
    a, _ = parts(model, x, c)
    k, h, w = len(a), len(a[0]), len(a[0][0])
    sigma = 0.15 * (x.max() - x.min()).item()
    gs = []
    for n in range(25):
        drawn = torch.tensor(noise(0, n, x.numel()), dtype=x.dtype).reshape(x.shape)
        gs.append(parts(model, x + sigma * drawn, c)[1])
    weights = []
    for n in range(k):
        total, weight = math.fsum(map(math.fsum, a[n])), 0.0
        for i in range(h):
            for j in range(w):
                d1, d2, d3 = (math.fsum(g[n][i][j] ** p for g in gs) / 25 for p in (1, 2, 3))
                below = 2 * d2 + total * d3
                weight += (d2 / below if below != 0 else 0.0) * max(0.0, d1)
        weights.append(weight)
    return weighted(weights, a)


@reference("fullgrad")
def fullgrad(model, x, c):
    """Input times gradient, and for each convolution and batch-norm its bias times the gradient
    behind it."""
    _, height, width = x.shape
    kept = []

    def keep(module, args, output):
        output.retain_grad()
        kept.append((module, output))

    biased = [m for m in model.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.BatchNorm2d))]
    handles = [m.register_forward_hook(keep) for m in biased]
    leaf = x[None].detach().requires_grad_()
    model(leaf)[0, c].backward()
    for handle in handles:
        handle.remove()
    parts_ = [leaf.grad[0] * x]
    for module, output in kept:
        bias = module.bias.detach()
        if isinstance(module, torch.nn.BatchNorm2d):
            bias = bias - module.running_mean * module.weight.detach() / torch.sqrt(
                module.running_var + module.eps
            )
        parts_.append(output.grad[0] * bias[:, None, None])
    for p in model.parameters():
        p.grad = None
    total = [[0.0] * width for _ in range(height)]
    for part in parts_:
        for plane in part.abs().tolist():
            m = resized(scaled(plane), height, width)
            for i in range(height):
                for j in range(width):
                    total[i][j] += m[i][j]
    return total


@reference("xrai")
def xrai(model, x, c):
    """Black and white ways of a hundred points, both ends among them;
    segments are taken as they are given."""
    _, height, width = x.shape
    ways = torch.zeros_like(x)
    for end in (x.min(), x.max()):
        total = sum(gradient(model, end + i / 99 * (x - end), c) for i in range(100)) / 100
        ways += (x - end) * total / 2
    values = ways.amax(0).tolist()
    masks = [
        {(i, j) for i in range(height) for j in range(width) if m[i][j]}
        for m in segments(x).tolist()
    ]
    free, result = (
        {(i, j) for i in range(height) for j in range(width)},
        [[0.0] * width for _ in range(height)],
    )

    def mean(places):
        return math.fsum(values[i][j] for i, j in places) / len(places)

    while masks := [mask for mask in masks if len(mask & free) >= 50]:
        best = max(masks, key=lambda mask: mean(mask & free))
        density = mean(best & free)
        for i, j in best & free:
            result[i][j] = density
        free -= best
    for i, j in free:
        result[i][j] = mean(free)
    return result
