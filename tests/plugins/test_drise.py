"""D-RISE on detectors, against the paper's sums written out."""

import math

import pytest
import torch

import camport
from camport.adapters import DetectionAdapter
from camport.core.maps.noise import uniform
from camport.plugins import DRISE
from tests.adapters.detectors import CLASSES, ClassicHead, Detector, FreeHead, awake, photographs
from tests.counting import seen_by

SAMPLES, CELLS = 12, 4
pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.DoubtWarning")


def masks(height, width):
    """Grids of 4 x 4 drawn from the seed 0, upsampled to 5 x 5 cells and cut out."""
    ch, cw = math.ceil(height / CELLS), math.ceil(width / CELLS)
    drawn = uniform(0, torch.arange(SAMPLES), CELLS * CELLS + 2).double()
    found = []
    for u in drawn:
        grid = (u[:16] < 0.5).double().reshape(1, 1, CELLS, CELLS)
        large = torch.nn.functional.interpolate(
            grid, (5 * ch, 5 * cw), mode="bilinear", align_corners=False
        )[0, 0]
        top, left = int(u[16] * ch), int(u[17] * cw)
        found.append(large[top : top + height, left : left + width])
    return found


def candidates(model, image):
    """Of one image, a list of (box, class probabilities, objectness or the largest confidence)."""
    with torch.no_grad():
        outputs = model(image[None])
    table = outputs[0][0]
    if isinstance(model.model[-1], ClassicHead):
        rows = [(r[:4], r[5 : 5 + CLASSES], float(r[4])) for r in table]
    else:
        rows = [(r[:4], r[4 : 4 + CLASSES], float(r[4 : 4 + CLASSES].max())) for r in table.T]
    found = []
    for centre, p, sure in rows:
        x, y, w, h = centre.tolist()
        found.append(
            (
                clipped((x - w / 2, y - h / 2, x + w / 2, y + h / 2), image.shape[1:]),
                p.tolist(),
                sure,
            )
        )
    return found


def clipped(box, size):
    """The part of a box inside the image, as detectors report it;
    the box itself where it lies outside as a whole."""
    inside = [min(max(v, 0.0), size[1 - i % 2]) for i, v in enumerate(box)]
    return tuple(inside) if inside[0] < inside[2] and inside[1] < inside[3] else box


def iou(a, b):
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(
        0.0, min(a[3], b[3]) - max(a[1], b[1])
    )
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - across
    return across / union if union > 0 else 0.0


def cosine(p, q):
    return math.fsum(a * b for a, b in zip(p, q, strict=True)) / math.hypot(*p) / math.hypot(*q)


def by_hand(model, image, index):
    own = candidates(model, image)[index]
    total = torch.zeros(image.shape[1:], dtype=torch.float64)
    for mask in masks(*image.shape[1:]):
        found = candidates(model, image * mask)
        s = max(iou(own[0], box) * cosine(own[1], p) * sure for box, p, sure in found)
        total += s * mask / (SAMPLES * 0.5)
    return total


@pytest.mark.parametrize("head", [ClassicHead, FreeHead])
def test_every_detection_of_an_image_equals_the_paper(head):
    model, image = awake(Detector(head())), photographs(size=(32, 64))
    bound = camport.bind(
        model, DRISE(samples=SAMPLES, cells=CELLS), adapter=DetectionAdapter(threshold=0.0, most=3)
    )
    explanation = bound(image)
    assert len(explanation.score) == 3
    for row, index in enumerate(explanation.figures["index"].tolist()):
        wanted = by_hand(model, image[0], index)
        assert float((explanation.raw[row].double() - wanted).norm() / wanted.norm()) < 1e-6


def test_masked_images_are_run_once_for_all_detections():
    model, image = awake(Detector(ClassicHead())), photographs(size=(32, 64))
    seen = seen_by(model.model[0])
    bound = camport.bind(
        model, DRISE(samples=SAMPLES, cells=CELLS), adapter=DetectionAdapter(threshold=0.0, most=5)
    )
    bound(image)
    seen.clear()
    bound(image)
    assert sum(seen) == 1 + SAMPLES


def test_a_box_a_image():
    model, images = awake(Detector(ClassicHead())), photographs(2, size=(32, 64))
    bound = camport.bind(model, DRISE(samples=SAMPLES, cells=CELLS), adapter="detection")
    asked = {"boxes": [[2, 2, 30, 30], [20, 1, 60, 31]], "class_ids": [1, 2]}
    together = bound(images, asked)
    for i in range(2):
        alone = bound(images[i : i + 1], {name: values[i] for name, values in asked.items()})
        torch.testing.assert_close(alone.raw[0], together.raw[i], rtol=1e-5, atol=1e-8)
