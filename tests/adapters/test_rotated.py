"""Rotated boxes are matched, suppressed and reported by the upright boxes around them."""

import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camport.adapters import DetectionAdapter
from camport.adapters.detection.calls import Seen
from camport.adapters.detection.recognise import recognised
from camport.adapters.detection.rotated import enclosing
from camport.export.onnx_file.nms import suppression
from camport.export.onnx_file.ort import session
from camport.targets.boxes import confident, detections

SIZE = (64, 96)
SHIPS = [
    [40, 30, 50, 4, math.pi / 2],
    [40, 30, 50, 4, 0.0],
    [20, 40, 30, 10, math.pi / 6],
    [70, 20, 8, 8, math.pi / 4],
]
UPRIGHT = [
    [38, 5, 42, 55],
    [15, 28, 65, 32],
    [4.51, 28.17, 35.49, 51.83],
    [64.34, 14.34, 75.66, 25.66],
]


def corners_of(ship: list[float]) -> Tensor:
    """The four corners of a rotated box, one by one."""
    x, y, w, h, a = ship
    found = []
    for u, v in ((-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2)):
        found.append((x + u * math.cos(a) - v * math.sin(a), y + u * math.sin(a) + v * math.cos(a)))
    return torch.tensor(found)


class Named(nn.Module):
    nc = 2


def outputs(form: str) -> Tensor:
    """The table of the four ships, and others so small that nothing is said of them;
    as many as the pyramid has."""
    p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.7], [0.6, 0.3]])
    ships = torch.tensor(SHIPS)
    if form == "end2end":
        score, label = p.max(1)
        return torch.cat([ships[:, :4], score[:, None], label[:, None].float(), ships[:, 4:]], 1)[
            None
        ]
    rows = torch.cat([ships[:, :4], p, ships[:, 4:]], 1)
    rest = torch.tensor([[50.0, 50, 1, 1, 0.01, 0.01, 0.3]]).expand(126 - len(rows), -1)
    return torch.cat([rows, rest])[None].transpose(1, 2)


def test_the_box_around_a_rotated_one():
    found = enclosing(torch.tensor(SHIPS)[:, :4], torch.tensor(SHIPS)[:, 4:])
    low, high = found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2
    for i, ship in enumerate(SHIPS):
        own = corners_of(ship)
        torch.testing.assert_close(low[i], own.amin(0), rtol=0, atol=1e-5)
        torch.testing.assert_close(high[i], own.amax(0), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("form", "column"), [("yolov8", 6), ("end2end", 6)])
def test_matched_and_listed_at_the_edge_as_in_pytorch(form, column):
    table = outputs(form)
    settled = recognised(table, Named(), SIZE, None, None)
    assert (settled.format, settled.angle) == (form, column)
    adapter = DetectionAdapter(form=settled, threshold=0.5)
    seen = Seen(table, SIZE)
    asked = {"boxes": torch.tensor(UPRIGHT), "class_ids": torch.full((4,), -1)}
    found = adapter.resolve(seen, asked)
    assert found["index"].tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(found["matched"], torch.tensor(UPRIGHT), rtol=0, atol=0.01)
    torch.testing.assert_close(found["iou"], torch.ones(4), rtol=0, atol=2e-3)
    # the ships across one another overlap by 4 x 4 of 384 pixels;
    # unrotated they would be one and the same box
    listed = adapter.listed(seen)
    assert listed["index"].tolist() == [0, 1, 2, 3]
    edge = json.loads(json.dumps({"name": "detection", "options": adapter.options()}))
    result = {"outputs": table.numpy()}
    same = detections(result, edge, SIZE)
    np.testing.assert_allclose(same.boxes, listed["boxes"], atol=1e-4)
    asked_edge = confident(result, edge, SIZE, asked["boxes"].numpy(), np.full(4, -1))
    np.testing.assert_allclose(asked_edge.boxes, found["matched"], atol=1e-4)


def test_suppressed_inside_a_file():
    table = outputs("yolov8")
    adapter = DetectionAdapter(form=recognised(table, Named(), SIZE, None, None), threshold=0.5)
    options = json.dumps({"name": "detection", "options": adapter.options()})
    run = session(suppression({"camport.adapter": options}).SerializeToString())
    (rows,) = run.run(None, {"outputs": table.numpy()})
    np.testing.assert_allclose(rows[:, 1:5], UPRIGHT, atol=0.01)
    np.testing.assert_allclose(rows[:, 5], [0.9, 0.8, 0.7, 0.6], atol=1e-6)


def test_one_column_more_is_an_angle_only_where_it_may_be_one():
    table = outputs("yolov8")
    table = table.clone()
    table[:, 6] *= 100
    assert recognised(table, Named(), SIZE, None, None).angle is None
    assert recognised(outputs("yolov8"), Named(), SIZE, None, None).classes == 2
