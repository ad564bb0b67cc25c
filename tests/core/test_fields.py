"""Targets as data: what a field takes and refuses, and what an adapter has of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import camport
from camport.errors import InputError, PluginError
from camport.export import to_onnx
from camport.runtime import load
from camport.targets import Field, arrays, described, read

REGION = Field("region", "box", "the whole picture if left out", default=(0, 0, 0, 0))
NUMBER = Field("level", "number", default=0.5, least=0)
PART = Field("part", "class")
JOINT = Field("joint", "integer", default=-1, least=-1, most=4)


@pytest.mark.parametrize(
    ("field", "value", "rows"),
    [
        (REGION, (1, 2, 3, 4), [[1, 2, 3, 4]] * 2),
        (REGION, [[1, 2, 3, 4], [5, 6, 7, 8]], [[1, 2, 3, 4], [5, 6, 7, 8]]),
        (NUMBER, 2, [2, 2]),
        (PART, np.array([3, -1]), [3, -1]),
        (JOINT, [4, -1], [4, -1]),
        (Field("at", "point"), [0.5, 1.5], [[0.5, 1.5]] * 2),
    ],
)
def test_rows(field, value, rows):
    found = field.rows(value, 2)
    assert found.dtype == (np.int64 if field.kind in ("class", "integer") else np.float32)
    np.testing.assert_array_equal(found, rows)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        (REGION, (1, 2, 3), r"region has shape \(3,\); give x0,y0,x1,y1"),
        (REGION, (1, 2, 3, np.nan), "NaN or infinite"),
        (REGION, "left", "give numbers"),
        (REGION, [[1, 2], [3]], "no array"),
        (NUMBER, -1, "level -1.0 is out of range; the least is 0"),
        (JOINT, 5, "joint 5 is out of range; the least is -1, the most is 4"),
        (JOINT, [0, -2], "joint -2 is out of range; the least is -1, the most is 4"),
        (Field("share", "number", most=0.5), [0.25, 0.75], "share 0.75 is out .*; the most is 0.5"),
        (PART, 0.5, "give whole numbers"),
        (PART, True, "give whole numbers"),
        (PART, [1, 2, 3], "one for each of 2 images"),
        (PART, np.uint64(2**64 - 1), "part 18446744073709551615 is out of range"),  # and not -1
        (NUMBER, 1e60, "NaN or infinite in float32"),
    ],
)
def test_what_does_not_fit_is_said(field, value, says):
    with pytest.raises(InputError, match=says):
        field.rows(value, 2)


def test_a_target_in_bfloat16_is_read():
    class Mean(camport.Adapter):
        name, title, fields = "mean", "Mean", (NUMBER,)

        def check(self, outputs, target):
            pass

        def score(self, outputs, target):
            return outputs.mean(1) * target["level"]

    given = torch.tensor(2.5, dtype=torch.bfloat16)
    assert Mean().prepare(given, torch.zeros(2, 3, 4, 4))["level"].tolist() == [2.5, 2.5]


def test_a_target_by_name_and_by_value():
    fields = (REGION, NUMBER)
    assert {k: v.tolist() for k, v in arrays(fields, None, 1).items()} == {
        "region": [[0, 0, 0, 0]],
        "level": [0.5],
    }
    assert arrays(fields, (1, 2, 3, 4), 1)["region"].tolist() == [[1, 2, 3, 4]]
    assert arrays(fields, {"level": 3}, 1)["level"].tolist() == [3]
    with pytest.raises(InputError, match="the target has no part; give a class"):
        arrays((PART,), None, 1)
    with pytest.raises(InputError, match="the target has no 'where'; it has region, level"):
        arrays(fields, {"where": 1}, 1)


def test_one_number_is_one_number():
    with pytest.raises(InputError, match=r"^at=300 has 1 number; give x,y$"):
        Field("at", "point").parsed("300")


def test_fields_survive_a_file():
    assert read(described((REGION, NUMBER, PART, JOINT))) == (
        Field("region", "box", "the whole picture if left out", default=(0, 0, 0, 0)),
        NUMBER,
        PART,
        JOINT,
    )
    earlier = [{"name": "joint", "kind": "integer", "default": -1, "least": -1}]
    assert read(earlier) == (replace(JOINT, most=None),)
    for wrong in (
        "text",
        [1],
        [{"name": "x"}],
        [{"name": "x", "kind": "tensor"}],
        [{"name": "x", "kind": "box", "of": 1}],
        [{"name": "x", "kind": [1]}],
        [{"name": "x", "kind": "number", "least": "x", "default": 1}],
        [{"name": "x", "kind": "number", "most": float("nan")}],
        [{"name": "x", "kind": "number", "least": 2, "most": 1}],
        [{"name": "x", "kind": "integer", "most": 4, "default": 5}],
    ):
        with pytest.raises(InputError):
            read(wrong)


@pytest.mark.parametrize(
    ("least", "most", "drawn"),
    [(0, 0, {0}), (-1, 4, {-1, 0}), (None, -3, {-4, -3}), (7, None, {7, 8})],
)
def test_what_is_drawn_lies_in_the_range(least, most, drawn):
    """By which an exported file is compared with PyTorch."""

    class Part(camport.Adapter):
        name, title = "part", "A part"
        fields = (
            Field("part", "integer", least=least, most=most),
            Field("level", "number", least=least, most=most),
        )

        def check(self, outputs, target):
            pass

        def score(self, outputs, target):
            return outputs.sum(1)

    found = Part().sample_for(torch.zeros(1, 3, 4, 4), None, 64, torch.Generator().manual_seed(0))
    assert set(found["part"].tolist()) == drawn
    for field in Part.fields:
        field.rows(found[field.name].numpy(), 64)


def test_a_file_refuses_what_pytorch_refuses(tmp_path):
    """The range goes with the file, in which `check` does not run."""

    class Part(camport.Adapter):
        name, title, fields = (
            "part",
            "The sum of one channel",
            (replace(JOINT, default=0, least=0),),
        )

        def check(self, outputs, target):
            pass

        def score(self, outputs, target):
            numbers = torch.arange(outputs.shape[1], device=outputs.device)
            return (outputs.sum((2, 3)) * (numbers == target["joint"][:, None])).sum(1)

    model, images = nn.Sequential(nn.Conv2d(3, 5, 3)).eval(), torch.rand(2, 3, 8, 8)
    bound = camport.bind(model, "saliency", adapter=Part())
    to_onnx(bound, tmp_path / "part.onnx", images)
    file = load(tmp_path / "part.onnx")
    np.testing.assert_allclose(
        file(images.numpy(), joint=[4, 0]).score, bound(images, [4, 0]).score, rtol=1e-4
    )
    for explain in (lambda: bound(images, 5), lambda: file(images.numpy(), joint=5)):
        with pytest.raises(InputError, match="joint 5 is out of range; the least is 0, the most"):
            explain()


def test_an_adapter_without_either_is_said():
    class Neither(camport.Adapter):
        name, title = "neither", "Nothing"

        def check(self, outputs, target):
            pass

        def score(self, outputs, target):
            return outputs[:, 0]

    with pytest.raises(PluginError, match="Neither declares no `fields` and does not implement"):
        camport.explain(nn.Conv2d(3, 2, 1), torch.rand(1, 3, 8, 8), adapter=Neither())
