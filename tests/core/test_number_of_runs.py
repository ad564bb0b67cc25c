"""How often a model runs in a first explanation and in the next ones: as often as the work needs.

A first explanation that is to choose its layer makes two passes on one image beside its own: one
that records what runs and leads to the score, one on another picture, which tells what moves with
the image (`camport.core.running.settling`). A captioner runs once more in every explanation, to
write the caption that nobody gave: `demo:captioner` writes a whole caption in one call,
another one would run once a word.
"""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import camport
from camport.core.running import placing
from camport.errors import FlatMapWarning, ModelError, silenced
from camport.models import load_model
from tests.nets import GapNet, TokenNet, seeded

IMAGE = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
CAPTION = {"tokens": [1, 3, 6, 8, 3], "span": (2, 3)}
FOUR = {"tokens": [1, 3, 6, 8], "span": (2, 3)}


@pytest.fixture(scope="module")
def captioner():
    return load_model("demo:captioner").model


def runs(monkeypatch, model, *asked, **bound):
    """How often the model's forward is entered in a first and in a second explanation."""
    # beartype, which is in tests alone, draws from Python's generator:
    # the model seems to decide by a number
    monkeypatch.setattr(placing, "python_states", tuple)
    entered = []
    forward = type(model).forward

    def counted(self, *args, **kwargs):
        entered.append(self)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(type(model), "forward", counted)
    explain = camport.bind(model, "gradcam", **bound)
    counts = []
    for _ in range(2):
        entered.clear()
        with silenced(FlatMapWarning):
            explain(*asked)
        counts.append(len(entered))
    return counts


# passes beside the explanation's own: to write, to choose the layer
@pytest.mark.parametrize(
    ("target", "layer", "expected"),
    [
        (None, None, [1 + 2 + 1, 1 + 1]),  # it was 15 and 2
        (None, "encoder", [1 + 1, 1 + 1]),  # it was 3 and 2
        (CAPTION, None, [2 + 1, 1]),
        (CAPTION, "encoder", [1, 1]),
        # four words may be a grid 2 x 2, and the image tells that they are none
        (FOUR, None, [2 + 5 + 1, 1]),
    ],
)
def test_a_captioner(monkeypatch, captioner, target, layer, expected):
    assert (
        runs(monkeypatch, captioner, IMAGE, target, adapter="captioning", layer=layer) == expected
    )


def test_outputs_that_have_the_tokens_first_are_told_by_one_of_as_many_images(captioner):
    class TokensFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.own = captioner

        def forward(self, images, tokens):
            return self.own(images, tokens).transpose(0, 1)

    images = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with pytest.raises(ModelError, match="its first axis is not that of the images"):
        camport.explain(
            TokensFirst(), images, "gradcam", adapter="captioning", target=FOUR, layer="own.encoder"
        )


def test_a_convolutional_network(monkeypatch):
    model = seeded(GapNet(), dtype=torch.float32)
    assert runs(monkeypatch, model, IMAGE[:, :, :14, :18], 0) == [2 + 1, 1]
    assert runs(monkeypatch, model, IMAGE[:, :, :14, :18], 0, layer="features") == [1, 1]


def test_a_transformer_of_tokens(monkeypatch):
    """The image as it is and with each half changed tell how tokens lie on it,
    and which of them do not."""
    model = seeded(TokenNet(), dtype=torch.float32)
    assert runs(monkeypatch, model, IMAGE[:, :, :14, :18], 0) == [2 + 5 + 1, 1]  # it was 13 and 1


class TopTwo(camport.Adapter):
    """Lists the two likeliest classes of an image."""

    name, title, lists = "top-two", "The two likeliest classes", True
    fields = (camport.Field("classes", "class", default=0),)

    def check(self, outputs, target):
        pass

    def listed(self, outputs):
        return {"classes": outputs[0].topk(2).indices}

    def score(self, outputs, target):
        return outputs.expand(len(target["classes"]), -1).gather(1, target["classes"][:, None])[
            :, 0
        ]


@dataclass(frozen=True)
class Looks(camport.Explainer):
    """Looks at what costs nothing, counts the runs meanwhile, and gives a map of ones."""

    name, title, paper, family, needs_gradients, needs_layer = (
        "looks",
        "Looks",
        "-",
        "input-gradient",
        True,
        False,
    )

    def check(self, probe):
        before = len(ENTERED)
        assert probe.images.shape == (2, 3, 14, 18)
        assert probe.shared
        assert probe.layers == []
        assert len(ENTERED) == before

    def saliency(self, probe):
        return probe.input_gradient().abs().sum(1)


ENTERED = []


def test_looking_at_a_probe_runs_nothing():
    """Its images have a row for each that the adapter lists, which the first pass tells."""

    class Counted(GapNet):
        def forward(self, x):
            ENTERED.append(1)
            return super().forward(x)

    found = camport.explain(
        seeded(Counted(), dtype=torch.float32), IMAGE[:, :, :14, :18], Looks(), adapter=TopTwo()
    )
    assert found.heatmap.shape == (2, 14, 18)
    assert len(ENTERED) == 1 + 1  # what is listed, and the gradients at both rows' images
