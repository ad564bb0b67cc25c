"""Digit scenes: real handwritten digits on crops of real photographs,
with the truth known to the pixel.

A map is right when it lies on the thing it was asked about. To measure that without downloads,
scikit-learn's 1,797 scans of handwritten digits are drawn in random size, slant, colour and place
on crops of photographs that scikit-learn and scikit-image carry in their wheels. A scene is a pure
function of its seed, split and size.

The splits share nothing: every fifth scan and three of the photographs are held out.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camport.demo.carried import REMEDY, carried
from camport.errors import InputError, MissingDependencyError

Box = tuple[float, float, float, float]

LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PLURALS = (
    "zeros",
    "ones",
    "twos",
    "threes",
    "fours",
    "fives",
    "sixes",
    "sevens",
    "eights",
    "nines",
)
MAX_DIGITS = 5

# Photographs that lie inside the wheels; scikit-image's own loader would download one that does
# not.
PHOTOGRAPHS: dict[str, tuple[str, ...]] = {
    "train": (
        "sklearn/datasets/images/china.jpg",
        "skimage/data/astronaut.png",
        "skimage/data/coffee.png",
        "skimage/data/motorcycle_left.png",
        "skimage/data/rocket.jpg",
        "skimage/data/brick.png",
        "skimage/data/grass.png",
        "skimage/data/gravel.png",
    ),
    "held-out": (
        "sklearn/datasets/images/flower.jpg",
        "skimage/data/chelsea.png",
        "skimage/data/camera.png",
    ),
}
HELD_OUT_EVERY = 5  # scans 0, 5, 10, ... are held out

SIZE_RANGE = (0.22, 0.42)  # a digit's height as a share of the scene's side
GAP = 0.02  # least distance between boxes and from the border, as a share of the scene's side
MIN_CONTRAST = 0.3  # least difference in luminance between a digit and what lies behind it
_LUMINANCE = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Digit:
    """One digit of a scene.

    Attributes:
        label: the class, 0 to 9.
        box: x0, y0, x1, y1 in pixels, the tight bounds of the mask; x1 and y1 are exclusive.
        mask: bool [H, W], the digit's strokes.
    """

    label: int
    box: Box
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """A picture and what is true of it.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        digits: the digits from left to right (by the centre of their boxes).
        caption: "a seven", "a seven above a two", "a four, a seven and an eight from left to
            right".
        questions: pairs of a question and its answer, such as ("how many threes?", "2").
    """

    image: NDArray[np.uint8]
    digits: tuple[Digit, ...]
    caption: str
    questions: tuple[tuple[str, str], ...]


def make_scene(
    seed: int, *, split: str = "train", size: int = 128, digits: int | None = None
) -> Scene:
    """The scene of this seed, the same on every call.

    Args:
        seed: any integer from 0; seeds of the two splits are unrelated.
        split: "train" or "held-out".
        size: height and width in pixels, 32 at least.
        digits: how many digits, 1 to 5; None draws the number.

    Raises:
        InputError: an unknown split, or a seed, size or number of digits out of range.
        MissingDependencyError: scikit-learn or scikit-image is not installed.
    """
    if split not in PHOTOGRAPHS:
        raise InputError(f"split {split!r} is none of {sorted(PHOTOGRAPHS)}")
    if seed < 0 or size < 32:
        raise InputError(f"a seed is 0 or more and a size 32 or more; got seed={seed}, size={size}")
    if digits is not None and not 1 <= digits <= MAX_DIGITS:
        raise InputError(f"a scene has 1 to {MAX_DIGITS} digits; got {digits}")
    rng = np.random.default_rng([seed, sorted(PHOTOGRAPHS).index(split)])
    count = int(rng.integers(1, MAX_DIGITS + 1)) if digits is None else digits
    labels = _draw_labels(rng, count)
    canvas = _background(rng, split, size)
    placed: list[Digit] = []
    for label, (alpha, x, y) in zip(labels, _layout(rng, labels, split, size), strict=True):
        h, w = alpha.shape
        _paint(rng, canvas[y : y + h, x : x + w], alpha)
        mask = np.zeros((size, size), dtype=bool)
        mask[y : y + h, x : x + w] = alpha >= 0.5
        placed.append(Digit(label, (float(x), float(y), float(x + w), float(y + h)), mask))
    ordered = tuple(sorted(placed, key=lambda d: (_centre(d)[0], _centre(d)[1])))
    image = np.round(canvas * 255).astype(np.uint8)
    return Scene(image, ordered, describe(ordered), ask(ordered, rng))


def scene_arrays(
    seeds: Iterable[int], *, split: str = "train", size: int = 128, digits: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Many scenes for training and scoring: images uint8 [N, size, size, 3] and presence bool [N,
    10]."""
    scenes = [make_scene(seed, split=split, size=size, digits=digits) for seed in seeds]
    images = np.zeros((len(scenes), size, size, 3), dtype=np.uint8)
    presence = np.zeros((len(scenes), len(LABELS)), dtype=bool)
    for row, scene in enumerate(scenes):
        images[row] = scene.image
        presence[row, [digit.label for digit in scene.digits]] = True
    return images, presence


def describe(digits: tuple[Digit, ...]) -> str:
    """The caption of digits that stand from left to right.

    Two digits are related along the axis on which they lie further apart; more are listed.
    """
    names = [_with_article(LABELS[d.label]) for d in in_caption_order(digits)]
    if len(digits) == 1:
        return names[0]
    if len(digits) == 2:
        return f"{names[0]} {'above' if _above(digits) else 'left of'} {names[1]}"
    return f"{', '.join(names[:-1])} and {names[-1]} from left to right"


def in_caption_order(digits: tuple[Digit, ...]) -> tuple[Digit, ...]:
    """The digits, which stand from left to right,
    in the order in which their caption names them."""
    return tuple(sorted(digits, key=lambda d: _centre(d)[1])) if _above(digits) else digits


def _above(digits: tuple[Digit, ...]) -> bool:
    """Whether there are two, further apart in height than across."""
    if len(digits) != 2:
        return False
    (ax, ay), (bx, by) = _centre(digits[0]), _centre(digits[1])
    return abs(by - ay) > abs(bx - ax)


def ask(digits: tuple[Digit, ...], rng: np.random.Generator) -> tuple[tuple[str, str], ...]:
    """Questions about digits that stand from left to right; counts are answered in figures."""
    counts = Counter(d.label for d in digits)
    present = int(rng.choice(sorted(counts)))
    absent = int(rng.choice([label for label in range(len(LABELS)) if label not in counts]))
    questions = [
        ("how many digits?", str(len(digits))),
        (f"how many {PLURALS[present]}?", str(counts[present])),
        (f"how many {PLURALS[absent]}?", "0"),
        (f"is there {_with_article(LABELS[present])}?", "yes"),
        (f"is there {_with_article(LABELS[absent])}?", "no"),
    ]
    if len(digits) > 1:
        top = min(digits, key=lambda d: _centre(d)[1])
        largest = max(digits, key=lambda d: d.box[3] - d.box[1])
        questions += [
            ("which digit is leftmost?", LABELS[digits[0].label]),
            ("which digit is rightmost?", LABELS[digits[-1].label]),
            ("which digit is topmost?", LABELS[top.label]),
            ("which digit is tallest?", LABELS[largest.label]),
        ]
    return tuple(questions)


def _with_article(name: str) -> str:
    return f"an {name}" if name == "eight" else f"a {name}"


def _centre(digit: Digit) -> tuple[float, float]:
    x0, y0, x1, y1 = digit.box
    return (x0 + x1) / 2, (y0 + y1) / 2


def _draw_labels(rng: np.random.Generator, count: int) -> list[int]:
    """Labels, now and then one twice: uniform draws alone would hardly ever answer "how many" with
    2."""
    labels = [int(label) for label in rng.integers(0, len(LABELS), count)]
    if count > 1 and rng.random() < 0.25:
        labels[1] = labels[0]
    return labels


def _background(rng: np.random.Generator, split: str, size: int) -> NDArray[np.float64]:
    """A crop of a photograph, float [size, size, 3] in 0..1,
    faded to a tone so that digits stand out."""
    photo = _photographs(split)[int(rng.integers(len(PHOTOGRAPHS[split])))]
    shortest = min(photo.size)
    side = rng.uniform(min(size, shortest), min(3 * size, shortest))
    x, y = rng.uniform(0, photo.width - side), rng.uniform(0, photo.height - side)
    crop = photo.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))
    pixels = np.asarray(crop, dtype=np.float64) / 255
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    strength, tone = rng.uniform(0.5, 0.8), rng.random()
    return strength * pixels + (1 - strength) * tone


def _layout(
    rng: np.random.Generator, labels: list[int], split: str, size: int
) -> list[tuple[NDArray[np.float64], int, int]]:
    """Glyphs with the x and y of their upper left corner: inside the scene, boxes apart by GAP."""
    gap = max(1, round(GAP * size))
    images, classes = _scans(split)
    scans = [images[rng.choice(np.flatnonzero(classes == label))] for label in labels]
    sizes = rng.uniform(*SIZE_RANGE, len(labels)) * size
    while True:
        glyphs = [_glyph(rng, scan, height) for scan, height in zip(scans, sizes, strict=True)]
        placed: list[tuple[NDArray[np.float64], int, int]] = []
        for alpha in glyphs:
            h, w = alpha.shape
            for _ in range(50):
                x, y = (int(rng.integers(gap, size - gap - side + 1)) for side in (w, h))
                apart = (
                    x >= px + a.shape[1] + gap
                    or px >= x + w + gap
                    or y >= py + a.shape[0] + gap
                    or py >= y + h + gap
                    for a, px, py in placed
                )
                if all(apart):
                    placed.append((alpha, x, y))
                    break
        if len(placed) == len(glyphs):
            return placed
        sizes = sizes * 0.95


def _glyph(rng: np.random.Generator, scan: NDArray[np.uint8], height: float) -> NDArray[np.float64]:
    """A scan upsampled smoothly, slightly turned and slanted, cut to its strokes: opacity in 0..1,
    [h, w]."""
    angle, slant = rng.uniform(-0.2, 0.2), rng.uniform(-0.15, 0.15)
    aspect = rng.uniform(0.85, 1.15)
    canvas = round(height * 1.6)
    scale = scan.shape[0] / height
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * turn @ np.array([[1 / aspect, slant], [0, 1]])
    # A frame of two empty pixels keeps the bicubic kernel away from the scan's border.
    framed = Image.fromarray(np.pad(scan, 2))
    shift = framed.width / 2 - matrix @ np.array([canvas / 2, canvas / 2])
    coefficients = (*matrix[0], shift[0], *matrix[1], shift[1])
    smooth = framed.transform(
        (canvas, canvas), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BICUBIC
    )
    alpha = np.clip((np.asarray(smooth, dtype=np.float64) / 255 - 0.33) / 0.3, 0, 1)
    rows, columns = np.flatnonzero((alpha >= 0.5).any(1)), np.flatnonzero((alpha >= 0.5).any(0))
    return alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _paint(
    rng: np.random.Generator, region: NDArray[np.float64], alpha: NDArray[np.float64]
) -> None:
    """Blends a digit into `region` [h, w, 3], in place,
    in a random colour that a person can tell from it."""
    luminance = region @ _LUMINANCE
    mean, (low, high) = luminance.mean(), np.percentile(luminance, [5, 95])
    colours = rng.random((16, 3))
    light = colours @ _LUMINANCE
    good = np.flatnonzero(np.maximum(low - light, light - high) >= MIN_CONTRAST)
    if good.size:
        colour = colours[good[0]]
    else:  # black or white is at least 0.5 from any mean, and 0.4 remain after the tint
        colour = 0.1 * colours[0] + 0.9 * (0.0 if mean > 0.5 else 1.0)
    region += alpha[..., None] * (colour - region)


@cache
def _scans(split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The scans of a split, uint8 [N, 8, 8] in 0..255, and their classes [N]."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependencyError(
            f"digit scenes need scikit-learn, which is not installed: {REMEDY}"
        ) from error
    bunch = load_digits()
    held_out = np.arange(len(bunch.target)) % HELD_OUT_EVERY == 0
    chosen = held_out if split == "held-out" else ~held_out
    return np.round(bunch.images[chosen] * (255 / 16)).astype(np.uint8), bunch.target[
        chosen
    ].astype(np.int64)


@cache
def _photographs(split: str) -> tuple[Image.Image, ...]:
    """The photographs of a split, RGB, read from inside the installed wheels."""
    return tuple(_read_photograph(path) for path in PHOTOGRAPHS[split])


def _read_photograph(path: str) -> Image.Image:
    with Image.open(carried(path)) as photo:
        return photo.convert("RGB")
