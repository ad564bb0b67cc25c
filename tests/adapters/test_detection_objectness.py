"""Tables with a row a cell: an objectness (YOLOX, YOLOv6) is never taken for a class;
what nothing tells is said."""

import warnings

import pytest
import torch
from torch import nn

import camport
from camport.adapters import DetectionAdapter
from camport.errors import DoubtWarning, ModelError
from tests.adapters.detectors import STRIDES, Unit
from tests.nets import seeded

X = torch.rand(1, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


class Cells(nn.Module):
    """An anchor-free detector with a decoupled head; `joined` puts box [4],
    objectness [1] and classes [k] together."""

    def __init__(self, joined, classes=3):
        super().__init__()
        sizes = [(3, 8, 2), (8, 8, 2), (8, 12, 2), (12, 16, 2), (16, 16, 2)]
        self.units = nn.Sequential(*(Unit(*size) for size in sizes))
        widths = (12, 16, 16)
        self.box, self.obj, self.cls = (
            nn.ModuleList(nn.Conv2d(width, n, 1) for width in widths) for n in (4, 1, classes)
        )
        self.joined = joined

    def forward(self, x):
        levels, rows = [], []
        for unit in self.units:
            x = unit(x)
            levels.append(x)
        for i, level in enumerate(levels[2:]):
            box, obj, cls = self.box[i](level).exp() * 8, self.obj[i](level), self.cls[i](level)
            rows.append(self.joined(box, obj, cls).flatten(2))
        table = torch.cat(rows, 2).transpose(1, 2)
        return torch.cat([table[..., :2] * 4, table[..., 2:4], table[..., 4:]], 2)  # as decoders do


def yolox(box, obj, cls):
    return torch.cat([box, obj.sigmoid(), cls.sigmoid()], 1)


def yolov6(box, obj, cls):
    return torch.cat([box, torch.ones_like(obj), cls.sigmoid()], 1)


def plain(box, obj, cls):
    return torch.cat([box, cls.sigmoid()], 1)


def at_once(box, obj, cls):
    """Nothing tells: the numbers behind the box come from one convolution."""
    numbers = box.new_empty((*box.shape[:1], 4 + 1 + cls.shape[1], *box.shape[2:]))
    numbers[:, :4], numbers[:, 4:5], numbers[:, 5:] = box, obj.sigmoid(), cls.sigmoid()
    return numbers


def bound_to(model, **options):
    return camport.bind(
        model, "saliency", adapter=DetectionAdapter(threshold=0.0, most=3, **options)
    )


@pytest.mark.parametrize("joined", [yolox, yolov6])
@pytest.mark.parametrize("classes", [1, 3])
def test_an_objectness_is_no_class(joined, classes):
    model = seeded(Cells(joined, classes))
    bound = bound_to(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DoubtWarning)
        explanation = bound(X)
    assert (bound.adapter.form.format, bound.adapter.form.classes) == ("yolov5", classes)
    with torch.no_grad():
        table = model(X)[0]
    confidence = table[:, 4:5] * table[:, 5:]
    index, named = explanation.figures["index"], explanation.target
    assert torch.allclose(
        explanation.figures["confidence"].double(), confidence[index, named], atol=1e-6
    )
    assert float(explanation.figures["confidence"][0]) == pytest.approx(
        float(confidence.max()), abs=1e-6
    )
    x = X.clone().requires_grad_()
    y = torch.logit(model(x)[0, index[0], 5 + named[0]])
    assert torch.allclose(explanation.score[0].double(), y, atol=1e-6)
    (g,) = torch.autograd.grad(y, x)
    assert torch.allclose(explanation.raw[0].double(), g[0].abs().amax(0), atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_alone_are_classes(classes):
    model = seeded(Cells(plain, classes))
    bound = bound_to(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DoubtWarning)
        explanation = bound(X)
    assert (bound.adapter.form.format, bound.adapter.form.classes) == ("rows", classes)
    with torch.no_grad():
        table = model(X)[0]
    assert float(explanation.figures["confidence"][0]) == pytest.approx(
        float(table[:, 4:].max()), abs=1e-6
    )


class Named(Cells):
    num_classes = 3


@pytest.mark.parametrize("options", [{"classes": 3}, {"format": "yolov5"}, {}])
def test_the_number_of_classes_tells(options):
    model = seeded((Cells if options else Named)(at_once))
    bound = bound_to(model, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DoubtWarning)
        bound(X)
    assert (bound.adapter.form.format, bound.adapter.form.classes) == ("yolov5", 3)


@pytest.mark.parametrize(
    ("objectness", "classes", "format", "rival"),
    [(-6.0, 1.0, "yolov5", "rows"), (-6.0, -5.0, "rows", "yolov5"), (1.0, 1.0, "rows", "yolov5")],
)
def test_what_nothing_tells_is_said(objectness, classes, format, rival):
    model = seeded(Cells(at_once))
    for convolutions, bias in ((model.obj, objectness), (model.cls, classes)):
        for convolution in convolutions:
            nn.init.constant_(convolution.bias, bias)
    bound = bound_to(model)
    with pytest.warns(
        DoubtWarning,
        match=rf"DetectionAdapter\(format='{rival}'\), on the command line --format {rival}",
    ):
        bound(X)
    assert (bound.adapter.form.format, bound.adapter.form.rival) == (format, rival)


def behind_the_box(box, obj, cls):
    """One tensor for all that stands behind the box, of which an objectness may be a part."""
    return torch.cat([box, torch.stack([*obj.sigmoid().unbind(1), *cls.sigmoid().unbind(1)], 1)], 1)


def test_an_objectness_out_of_the_classes_own_layer_is_said():
    """Whether one is there, values alone tell:
    classes that are likely wherever no object is are no classes."""
    model = seeded(Cells(behind_the_box))
    for convolutions, bias in ((model.obj, -6.0), (model.cls, 1.0)):
        for convolution in convolutions:
            nn.init.constant_(convolution.bias, bias)
    bound = bound_to(model)
    with pytest.warns(DoubtWarning, match="on the command line --format yolov5"):
        bound(X)
    assert (bound.adapter.form.format, bound.adapter.form.rival) == ("rows", "yolov5")


class Upright(Cells):
    def forward(self, x):
        return super().forward(x).transpose(1, 2)


def test_an_objectness_in_a_table_of_columns_is_refused():
    with pytest.raises(
        ModelError,
        match=r"a table \[b,5\+k,n\] with an objectness, which is not read; wrap the model",
    ):
        bound_to(seeded(Upright(yolox)))(X)


def test_strides_of_the_cells():
    assert seeded(Cells(yolox))(X).shape[1] == sum(64 // s * (96 // s) for s in STRIDES)
