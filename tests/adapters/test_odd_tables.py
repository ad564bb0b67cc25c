"""Detectors whose candidates are in no form that is read, or in one under another's name."""

import pytest
import torch
from torch import nn

import camport
from camport.adapters import DetectionAdapter
from camport.errors import ModelError
from camport.testing.networks import seeded
from tests.nets import images

# random networks may say no
pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")

X = images(2, size=(64, 64))
STRIDES, K = (8, 16, 32), 3


class Levels(nn.Module):
    """A pyramid, a convolution for boxes and one for classes a level;
    `form` says how they are put together."""

    def __init__(self, form):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 5, 4, 2), nn.ReLU())
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()) for _ in STRIDES
        )
        self.boxes = nn.ModuleList(nn.Conv2d(8, 4, 1) for _ in STRIDES)
        self.classes = nn.ModuleList(nn.Conv2d(8, K, 1) for _ in STRIDES)
        self.form = form

    def rows(self, x):
        a, boxes, logits = self.stem(x), [], []
        for level, box, cls, stride in zip(
            self.levels, self.boxes, self.classes, STRIDES, strict=True
        ):
            a = level(a)
            t = box(a).flatten(2).mT
            w = a.shape[3]
            cell = torch.arange(t.shape[1])
            place = torch.stack([cell % w, cell // w], 1).to(t) + 0.5
            centre, size = (
                (place + 0.2 * t[..., :2].tanh()) * stride,
                (1 + 0.3 * t[..., 2:].tanh()) * stride,
            )
            boxes.append(torch.cat([centre, size], 2))
            logits.append(cls(a).flatten(2).mT)
        return torch.cat(boxes, 1), torch.cat(logits, 1)

    def forward(self, x):
        return self.form(*self.rows(x))


def corners(boxes):
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], 2)


ODD = {
    "boxes, then scores": (
        lambda b, z: (corners(b), z.sigmoid()),
        "boxes apart from their scores, not read",
    ),
    "scores, then boxes": (
        lambda b, z: [z.sigmoid(), corners(b)],
        "boxes apart from their scores, not read",
    ),
    "logits in a column each": (
        lambda b, z: torch.cat([b, 9 * z], 2).mT,
        r"form yolov8\) and run from -.* logits are",
    ),
    "logits in rows": (
        lambda b, z: torch.cat([b, 9 * z], 2),
        r"form rows\) and run from -.* logits are not read",
    ),
    "corners": (
        lambda b, z: torch.cat([corners(b), z.sigmoid()], 2),
        r"size \(rows\), and every .* they are corners",
    ),
    "corners in a column each": (
        lambda b, z: torch.cat([corners(b), z.sigmoid()], 2).mT,
        "they are corners",
    ),
    "behind suppression": (
        lambda b, z: [
            {"boxes": corners(b)[0], "scores": z[0].sigmoid().amax(1), "labels": z[0].argmax(1)}
        ],
        (
            "finds no candidates in it; explain it inside a module that returns its candidates"
            " before suppression"
        ),
    ),
}


@pytest.mark.parametrize("classes", [None, K])
@pytest.mark.parametrize(("form", "said"), ODD.values(), ids=ODD)
def test_no_form_that_is_read(form, said, classes):
    target = {
        "boxes": torch.tensor([[8.0, 8, 24, 24], [8, 8, 24, 24]]),
        "class_ids": torch.tensor([1, 2]),
    }
    with pytest.raises(ModelError, match=said):
        camport.explain(
            seeded(Levels(form)), X, "hirescam", target, adapter=DetectionAdapter(classes=classes)
        )


@pytest.mark.parametrize(
    "form",
    [
        lambda b, z: torch.cat([b, z.sigmoid()], 2).mT,
        lambda b, z: torch.cat([b, z.sigmoid()], 2),
        lambda b, z: {"boxes": corners(b), "logits": z, "confidence": z.sigmoid()},
        # as a transformer names them, of which there is none
        lambda b, z: {"logits": z, "pred_boxes": b / 64},
    ],
    ids=["columns", "rows", "candidates", "detr"],
)
def test_the_levels_of_a_pyramid(form):
    model = seeded(Levels(form))
    boxes, logits = model.rows(X)
    n = boxes.shape[1]
    target = {
        "boxes": corners(boxes)[[0, 1], [9, n - 2]].detach(),
        "class_ids": torch.tensor([1, 2]),
    }
    found = camport.explain(model, X, "hirescam", target, adapter=DetectionAdapter(classes=K))
    assert found.layers == ("levels.0", "levels.1", "levels.2")
    assert found.figures["index"].tolist() == [9, n - 2]
    assert torch.allclose(found.score, logits[[0, 1], [9, n - 2], [1, 2]].detach(), atol=1e-6)
