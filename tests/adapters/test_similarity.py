import pytest
import torch
from torch import nn
from torch.nn import functional as F

import camport
from camport.adapters import SimilarityAdapter
from camport.errors import InputError, ModelError
from tests.nets import Net, images, seeded

# the own image has no slope
pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")

X = images(2)
REFERENCE = torch.randn(5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def explain(target, model=None, **options):
    return camport.explain(
        model or seeded(Net()), X, "hirescam", target, "features", SimilarityAdapter(**options)
    )


@pytest.mark.parametrize(
    ("score_as", "y_of"),
    [
        ("cosine", lambda e, r: F.cosine_similarity(e, r.expand_as(e), 1)),
        ("dot", lambda e, r: e @ r),
        ("distance", lambda e, r: -(e - r).norm(dim=1)),
    ],
)
def test_score_and_gradient(score_as, y_of):
    explanation = explain(REFERENCE, score_as=score_as)
    model = seeded(Net())
    a = model.features(X).detach().requires_grad_()
    y = y_of(model.head(a), REFERENCE)
    assert torch.allclose(explanation.score.double(), y.detach(), atol=1e-6)
    assert torch.allclose(explanation.gradients[0], torch.autograd.grad(y.sum(), a)[0], atol=1e-9)


def test_a_reference_image_is_embedded():
    model = seeded(Net())
    other = images(1, seed=7)
    by_image, by_vector = explain(other[0]), explain(model(other)[0].detach())
    assert torch.allclose(by_image.score, by_vector.score)
    assert torch.allclose(explain(other).heatmap, by_vector.heatmap)
    assert torch.allclose(explain(X, model).score, torch.ones(2, dtype=X.dtype), atol=1e-6)


def test_an_image_that_is_its_own_reference_has_a_finite_map():
    explanation = explain(X, score_as="distance")
    assert bool(explanation.raw.isfinite().all())
    assert torch.allclose(explanation.score, torch.zeros(2, dtype=X.dtype), atol=1e-5)


def test_embeddings_in_a_structure():
    class Wrapped(Net):
        def forward(self, x):
            return {"image": x, "image_embeds": super().forward(x)}

    assert torch.equal(explain(REFERENCE, seeded(Wrapped())).score, explain(REFERENCE).score)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (None, "a similarity needs its reference"),
        ("cat", "reference 'cat' is no tensor"),
        (torch.zeros(4).double(), "the reference has 4 numbers, the model's embeddings 5"),
        (torch.zeros(5).double(), "all zeros, which has no direction"),
        (torch.full((5,), torch.nan), "reference has 5 values that are NaN or infinite"),
        (torch.zeros(3, 5), r"reference has shape \(3, 5\); wanted a vector"),
        (torch.zeros(1, 4, 4), r"the reference image has shape \(1, 4, 4\); wanted \[3,H,W\]"),
    ],
)
def test_what_does_not_fit_is_said(target, said):
    with pytest.raises(InputError, match=said):
        explain(target)


def test_no_embedding():
    with pytest.raises(ModelError, match="without an embedding"):
        camport.explain(
            seeded(nn.Sequential(nn.Conv2d(3, 4, 3))),
            X,
            "saliency",
            REFERENCE,
            adapter="similarity",
        )
    with pytest.raises(InputError, match="score_as is 'cos'; it is one of cosine, dot, distance"):
        SimilarityAdapter("cos")
