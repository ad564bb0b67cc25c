"""What docs/troubleshooting.md says that messages have is what they say."""

import re
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import camport
from camport.errors import CamportError, DoubtWarning, ReusedLayerWarning
from camport.export import to_onnx

PAGE = (Path(__file__).parents[2] / "docs/troubleshooting.md").read_text(encoding="utf-8")
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """One convolution, with what its subclasses do in between."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act = nn.Conv2d(3, 8, 3), nn.ReLU()
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

    def forward(self, x):
        return self.behind(self.head(self.between(self.act(self.conv(x)))))

    def between(self, f):
        return f

    def behind(self, z):
        return z


class Detached(Net):
    def between(self, f):
        return f.detach()


class Quiet(Net):
    def forward(self, x):
        with torch.no_grad():
            f = self.act(self.conv(x))
        return self.head(f)


class Mixing(Net):
    def behind(self, z):
        return z - 0.5 * z.mean(0, keepdim=True)


class Two(Net):
    def behind(self, z):
        return {"a": z, "b": 2 * z}


class Twice(Net):
    def between(self, f):
        return self.act(f - 0.1)


class Branching(Net):
    def between(self, f):
        return f * 2 if f.mean() > 0.3 else f


class Rare(Net):
    def between(self, f):
        return torch.lgamma(f + 1)


class Noisy(Net):
    def between(self, f):
        return f + torch.rand_like(f)


def in_words(part: str, message: str) -> bool:
    """Whether the page's words, with capitals for what differs, are in the message."""
    assert f"\n| {part} |" in PAGE, part
    return bool(
        re.search(
            re.escape(part)
            .replace("CLASS", r"\w+")
            .replace("X", r"[\w.]+")
            .replace(r"\.\.\.", ".*"),
            message,
        )
    )


@pytest.mark.parametrize(
    ("model", "layer", "part"),
    [
        (Detached, "act", "no differentiable path leads there"),
        (Quiet, "conv", "runs under torch.no_grad() in CLASS.forward"),
        (Net, "nope", "no layer ... nearest"),
    ],
)
def test_refusals(model, layer, part):
    with pytest.raises(CamportError) as error:
        camport.explain(model().eval(), IMAGES, "gradcam", layer=layer)
    assert in_words(part, str(error.value)), error.value


@pytest.mark.parametrize(
    ("model", "layer", "kind", "part"),
    [
        (Mixing, "act", DoubtWarning, "mixes the images of a batch"),
        (Two, "act", DoubtWarning, "outputs that may be its classes"),
        (Twice, "act", ReusedLayerWarning, "runs 2 times in one forward pass"),
    ],
)
def test_warnings(model, layer, kind, part):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        camport.explain(model().eval(), IMAGES, "gradcam", layer=layer)
    assert any(issubclass(w.category, kind) and in_words(part, str(w.message)) for w in heard), (
        heard
    )


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (Branching, "Could not guard on data-dependent expression"),
        (Rare, "no ONNX form for aten.X in CLASS"),
        (Noisy, "draws random numbers"),
        (Mixing, "mixes the images of a batch"),
    ],
)
def test_exports(model, part, tmp_path):
    with pytest.raises(CamportError) as error:
        to_onnx(camport.bind(model().eval(), "gradcam", layer="act"), tmp_path / "x.onnx", IMAGES)
    assert in_words(part, str(error.value)), error.value
    assert not list(tmp_path.iterdir())
