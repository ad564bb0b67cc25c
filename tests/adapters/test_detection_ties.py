"""Boxes that reach beyond the image: clipped they are one box,
and the one that was asked about is still matched."""

import numpy as np
import pytest
import torch

from camport.adapters.detection.adapter import DetectionAdapter
from camport.adapters.detection.calls import Seen
from camport.adapters.detection.formats import Form
from camport.targets.boxes import confident

SIZE = (40, 60)
CENTRES = torch.tensor([[30.0, 20.0], [35.0, 20.0], [30.0, 28.0], [22.0, 12.0]])
SIDES = torch.tensor([[120.0, 90.0], [150.0, 80.0], [200.0, 120.0], [140.0, 100.0]])


@pytest.mark.parametrize("confidences", [(0.5,) * 4, (0.5, 0.5 + 3e-7, 0.5 - 3e-7, 0.5 + 6e-7)])
@pytest.mark.parametrize("wanted", range(4))
def test_the_box_that_was_asked_about(wanted, confidences):
    """All four cover the image of 60 x 40 as a whole;
    rounding alone tells their confidences apart."""
    scores = torch.tensor(confidences)
    # [1,4+2,4]
    table = torch.cat([CENTRES, SIDES, scores[:, None], 1 - scores[:, None]], 1).T[None]
    box = torch.cat([CENTRES - SIDES / 2, CENTRES + SIDES / 2], 1)[wanted : wanted + 1]
    form = Form("yolov8", classes=2)
    adapter = DetectionAdapter(form=form)
    resolved = adapter.resolve(Seen(table, SIZE), {"boxes": box, "class_ids": torch.tensor([0])})
    assert resolved["index"].tolist() == [wanted]
    assert resolved["iou"].tolist() == [1.0]
    metadata = {"name": "detection", "options": {"form": {"format": "yolov8", "classes": 2}}}
    found = confident({"outputs": table.numpy()}, metadata, SIZE, box.numpy(), np.array([0]))
    np.testing.assert_allclose(found.boxes, box.numpy(), atol=1e-4)


def test_a_clipped_box_goes_to_the_surest():
    """A box as a detector reports it, clipped, says nothing of what lies outside:
    the confidence decides."""
    scores = torch.tensor([0.5, 0.6, 0.7, 0.65])
    table = torch.cat([CENTRES, SIDES, scores[:, None], 1 - scores[:, None]], 1).T[None]
    adapter = DetectionAdapter(form=Form("yolov8", classes=2))
    whole = {"boxes": torch.tensor([[0.0, 0.0, 60.0, 40.0]]), "class_ids": torch.tensor([0])}
    assert adapter.resolve(Seen(table, SIZE), whole)["index"].tolist() == [2]
