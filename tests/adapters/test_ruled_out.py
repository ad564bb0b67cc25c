"""A logit of minus infinity stands for a class, an answer or a word that is ruled out,
and leaves the others alone."""

import numpy as np
import pytest
import torch
from torch import nn

import camport
from camport.adapters import (
    CaptioningAdapter,
    ClassificationAdapter,
    DetectionAdapter,
    SegmentationAdapter,
    VqaAdapter,
)
from camport.export import to_onnx
from camport.runtime import load
from tests.nets import Net, images, seeded

OUT = 3


class RuledOut(Net):
    """The fourth class is masked."""

    def forward(self, x):
        ruled = torch.arange(5) == OUT
        return super().forward(x).masked_fill(ruled, -torch.inf)


@pytest.mark.parametrize(
    ("adapter", "score"),
    [
        (ClassificationAdapter(), lambda z: z[:, 1]),
        (ClassificationAdapter(score_as="log_probability"), lambda z: z.log_softmax(1)[:, 1]),
        (
            ClassificationAdapter(score_as="contrast", against=(0, 2)),
            lambda z: z[:, 1] - (z[:, 0] + z[:, 2]) / 2,
        ),
        (ClassificationAdapter(score_as="contrast", nearest=3, against=None), None),
    ],
    ids=["logit", "log-probability", "contrast", "nearest"],
)
def test_a_class(adapter, score):
    model, x = seeded(RuledOut()), images(2)
    explanation = camport.explain(model, x, "hirescam", 1, "features", adapter)
    a = model.features(x).detach().requires_grad_()
    z = model.head(a)
    if score is None:  # the three nearest of the classes that there are
        y = z[:, 1] - z[:, [0, 2, 4]].mean(1)
    else:
        y = score(z.masked_fill(torch.arange(5) == OUT, -torch.inf))
    (gradient,) = torch.autograd.grad(y.sum(), a)
    assert torch.allclose(explanation.score, y)
    assert torch.allclose(explanation.raw, (gradient * a).sum(1).relu(), rtol=1e-9, atol=1e-12)


def test_a_file_rules_it_out_too(tmp_path):
    model, x = seeded(RuledOut()).float(), images(3, dtype=torch.float32)
    bound = camport.bind(model, "hirescam", "features")
    to_onnx(bound, tmp_path / "x.onnx", x[:2])
    result, expected = load(tmp_path / "x.onnx")(x[2:].numpy(), target=1), bound(x[2:], 1)
    np.testing.assert_allclose(result.score, expected.score, rtol=1e-5)
    np.testing.assert_allclose(result.heatmap, expected.heatmap, atol=1e-5)
    assert np.isneginf(result.outputs[:, OUT]).all()
    with pytest.raises(camport.errors.ModelError, match="what is asked about is ruled out"):
        bound(x[2:], OUT)


class Regions(nn.Module):
    """Classes of places, the fourth ruled out."""

    def __init__(self):
        super().__init__()
        self.features, self.fc = (
            nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU()),
            nn.Conv2d(6, 5, 1),
        )

    def forward(self, x):
        return self.fc(self.features(x)).masked_fill(
            torch.arange(5)[:, None, None] == OUT, -torch.inf
        )


def test_a_region():
    model, x = seeded(Regions()), images(2)
    region = torch.zeros(14, 18)
    region[2:9, 4:12] = 1
    explanation = camport.explain(
        model, x, "hirescam", {"class": 1, "mask": region}, "features", SegmentationAdapter()
    )
    a = model.features(x).detach().requires_grad_()
    z = nn.functional.interpolate(model.fc(a), region.shape, mode="bilinear", align_corners=False)
    y = (z[:, 1] * region).sum((1, 2)) / region.sum()
    (gradient,) = torch.autograd.grad(y.sum(), a)
    assert torch.allclose(explanation.score, y, rtol=1e-6)
    assert torch.allclose(explanation.raw, (gradient * a).sum(1).relu(), rtol=1e-5, atol=1e-9)


class Asked(Net):
    """An answer of five, of which one is ruled out."""

    def forward(self, x, question):
        return (
            super()
            .forward(x + question.sum(1)[:, None, None, None])
            .masked_fill(torch.arange(5) == OUT, -torch.inf)
        )


@pytest.mark.parametrize("contrast", [False, True])
def test_an_answer(contrast):
    model, x, question = seeded(Asked()), images(1), torch.tensor([[1, 2]])
    asked = {"question": question, "answer": 1, **({"against": 4} if contrast else {})}
    explanation = camport.explain(
        model, x, "saliency", asked, adapter=VqaAdapter(contrast=contrast)
    )
    leaf = x.clone().requires_grad_()
    z = model(leaf, question)
    y = z[:, 1] - z[:, 4] if contrast else z[:, 1]
    (gradient,) = torch.autograd.grad(y.sum(), leaf)
    assert torch.allclose(explanation.score, y)
    assert torch.allclose(explanation.raw, gradient.abs().amax(1), rtol=1e-9)


class Writes(Net):
    """Logits of the next of five words for each token [b,t,5]; one word is banned."""

    def forward(self, x, tokens):
        z = super().forward(x)[:, None] * (1 + tokens[..., None])
        return z.masked_fill(torch.arange(5) == OUT, -torch.inf)


@pytest.mark.parametrize("score_as", ["logit", "log_probability"])
def test_a_word(score_as):
    model, x, tokens = seeded(Writes()), images(1), torch.tensor([[0, 2, 4, 1]])
    adapter = CaptioningAdapter(score_as=score_as)
    explanation = camport.explain(
        model, x, "saliency", {"tokens": tokens, "span": (1, 3)}, adapter=adapter
    )
    leaf = x.clone().requires_grad_()
    z = model(leaf, tokens)
    z = z if score_as == "logit" else z.log_softmax(2)
    y = z[:, 0, 2] + z[:, 1, 4]
    (gradient,) = torch.autograd.grad(y.sum(), leaf)
    assert torch.allclose(explanation.score, y)
    assert torch.allclose(explanation.raw, gradient.abs().amax(1), rtol=1e-9)


class Queries(nn.Module):
    """A detector that asks with queries: levels in one row of tokens,
    one of three classes ruled out."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU())
        self.levels = nn.ModuleList([nn.Conv2d(6, 8, 1), nn.Conv2d(6, 8, 1)])
        self.queries = nn.Parameter(torch.zeros(4, 8))
        self.classes, self.boxes = nn.Linear(8, 3), nn.Linear(8, 4)

    def forward(self, x):
        fine = self.stem(x)
        maps = [level(v) for level, v in zip(self.levels, (fine, self.down(fine)), strict=True)]
        row = torch.cat([v.flatten(2).mT for v in maps], 1)
        asked = (self.queries @ row.mT).softmax(-1) @ row
        return {
            "logits": self.classes(asked).masked_fill(torch.arange(3) == 2, -torch.inf),
            "pred_boxes": self.boxes(asked).sigmoid(),
        }


def test_a_detection_and_levels_that_are_joined_to_one_row():
    model, x = seeded(Queries()), images(1, (16, 24))
    adapter = DetectionAdapter(classes=3, threshold=0.0, most=1)
    found = camport.bind(model, "hirescam", adapter=adapter)(x)
    assert found.layers == ("levels.0", "levels.1")
    kept = []
    handles = [m.register_forward_hook(lambda m, a, out: kept.append(out)) for m in model.levels]
    logits = model(x)["logits"]
    for handle in handles:
        handle.remove()
    y = logits[0, int(found.figures["index"][0]), int(found.target[0])]
    assert torch.allclose(found.score, y)
    for wanted, gradient in zip(torch.autograd.grad(y, kept), found.gradients, strict=True):
        assert torch.allclose(gradient, wanted, rtol=1e-9, atol=1e-12)
