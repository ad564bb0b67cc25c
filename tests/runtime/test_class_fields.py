"""A field that names classes: looked up by label, and refused beyond those that there are, in an exported file too."""

import pytest
import torch

import camport
from camport.errors import InputError, UnknownNameError
from camport.export import to_onnx
from camport.runtime import load
from camport.targets import Field
from tests.nets import Net, images, seeded

LABELS = ("zero", "one", "two", "three", "four")


class Contrast(camport.Adapter):
    """f_first - f_second; `second` is one of those of a class that was counted."""

    name, title = "contrast", "One class and not another"
    fields = (Field("first", "class", default=0), Field("second", "class", default=1, least=0))

    def check(self, outputs, target):
        """What the file refuses is asked about."""

    def classes_of(self, outputs):
        """The columns."""
        return outputs.shape[1]

    def score(self, outputs, target):
        """The difference."""
        first, second = (
            outputs.gather(1, target[name][:, None])[:, 0] for name in ("first", "second")
        )
        return first - second


class Uncounted(Contrast):
    """Says nothing of how many there are."""

    def classes_of(self, outputs):
        """Not known."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of either adapter, with labels."""
    folder = tmp_path_factory.mktemp("files")
    for adapter in (Contrast(), Uncounted()):
        bound = camport.bind(
            seeded(Net(), dtype=torch.float32), "gradcam", "features", adapter, labels=LABELS
        )
        to_onnx(bound, folder / f"{type(adapter).__name__}.onnx", images(2).float())
    return folder


def test_a_label_is_a_class(files):
    explainer, pixels = load(files / "Contrast.onnx"), images(2).float().numpy()
    by_name = explainer(pixels, first="two", second=["four", "zero"])
    assert (by_name.score == explainer(pixels, first=2, second=[4, 0]).score).all()
    logits = by_name.outputs
    assert by_name.score == pytest.approx(
        [logits[0, 2] - logits[0, 4], logits[1, 2] - logits[1, 0]], abs=1e-6
    )
    with pytest.raises(UnknownNameError, match="unknown label 'six'"):
        explainer(pixels, first="six")


@pytest.mark.parametrize(
    ("name", "given", "match"),
    [
        (
            "Contrast",
            {"first": 5},
            "first 5 of image 0 is out of range: the graph has 5 classes, 0 to 4",
        ),
        (
            "Contrast",
            {"second": [0, 77]},
            "second 77 of image 1 is out of range: the graph has 5 classes, 0 to 4",
        ),
        ("Contrast", {"second": -1}, "second -1 is out of range; the least is 0"),
        ("Uncounted", {"first": -2}, "first -2 of image 0 is out of range: classes are 0 and up"),
    ],
)
def test_no_class_is_refused(files, name, given, match):
    with pytest.raises(InputError, match=match):
        load(files / f"{name}.onnx")(images(2).float().numpy(), **given)
