"""Targets as data: what a field takes and refuses, and what an adapter has of it."""

import numpy as np
import pytest
import torch
from torch import nn

import camport
from camport.errors import InputError, PluginError
from camport.targets import Field, arrays, described, read

REGION = Field("region", "box", "the whole picture if left out", default=(0, 0, 0, 0))
NUMBER = Field("level", "number", default=0.5, least=0)
PART = Field("part", "class")


@pytest.mark.parametrize(
    ("field", "value", "rows"),
    [
        (REGION, (1, 2, 3, 4), [[1, 2, 3, 4]] * 2),
        (REGION, [[1, 2, 3, 4], [5, 6, 7, 8]], [[1, 2, 3, 4], [5, 6, 7, 8]]),
        (NUMBER, 2, [2, 2]),
        (PART, np.array([3, -1]), [3, -1]),
        (Field("at", "point"), [0.5, 1.5], [[0.5, 1.5]] * 2),
    ],
)
def test_rows(field, value, rows):
    found = field.rows(value, 2)
    assert found.dtype == (np.int64 if field.kind == "class" else np.float32)
    np.testing.assert_array_equal(found, rows)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        (REGION, (1, 2, 3), r"region has shape \(3,\); give x0,y0,x1,y1"),
        (REGION, (1, 2, 3, np.nan), "NaN or infinite"),
        (REGION, "left", "give numbers"),
        (REGION, [[1, 2], [3]], "no array"),
        (NUMBER, -1, "level -1.0 is out of range; the least is 0"),
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


def test_fields_survive_a_file():
    assert read(described((REGION, NUMBER, PART))) == (
        Field("region", "box", "the whole picture if left out", default=(0, 0, 0, 0)),
        NUMBER,
        PART,
    )
    for wrong in (
        "text",
        [1],
        [{"name": "x"}],
        [{"name": "x", "kind": "tensor"}],
        [{"name": "x", "kind": "box", "of": 1}],
        [{"name": "x", "kind": [1]}],
        [{"name": "x", "kind": "number", "least": "x", "default": 1}],
    ):
        with pytest.raises(InputError):
            read(wrong)


def test_an_adapter_without_either_is_said():
    class Neither(camport.Adapter):
        name, title = "neither", "Nothing"

        def check(self, outputs, target):
            pass

        def score(self, outputs, target):
            return outputs[:, 0]

    with pytest.raises(PluginError, match="Neither declares no `fields` and does not implement"):
        camport.explain(nn.Conv2d(3, 2, 1), torch.rand(1, 3, 8, 8), adapter=Neither())
