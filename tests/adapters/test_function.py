import pytest
import torch

import camport
from camport.adapters import FunctionAdapter
from camport.errors import InputError, ModelError
from tests.nets import Net, images, seeded

X = images(2)


def explain(adapter, target=None):
    return camport.explain(seeded(Net()), X, "hirescam", target, "features", adapter)


def gradient(y_of):
    model = seeded(Net())
    a = model.features(X).detach().requires_grad_()
    y = y_of(model.head(a))
    return y.detach(), torch.autograd.grad(y.sum(), a)[0]


def energy(z):
    return z.square().sum(1)


def between(z, weights, which):
    return (z * weights).sum(1) * which.to(z.dtype)


TWO = FunctionAdapter(between, (("weights", (1.0, 0.0, 0.0, 0.0, 0.0)), ("which", 2)))


@pytest.mark.parametrize(
    ("adapter", "target", "y_of"),
    [
        (FunctionAdapter(), None, lambda z: z.amax(1)),
        (FunctionAdapter(energy), None, energy),
        (TWO, None, lambda z: 2 * z[:, 0]),
        (TWO, {"which": [3, 1]}, lambda z: z.new_tensor([3.0, 1.0]) * z[:, 0]),
        (TWO, {"weights": (0.0, 1.0, 0.0, 0.0, -1.0), "which": 1}, lambda z: z[:, 1] - z[:, 4]),
        (
            FunctionAdapter(lambda z, k: z[:, :2].sum(1) * k, (("k", 1.5),)),
            4.0,
            lambda z: 4 * z[:, :2].sum(1),
        ),
    ],
)
def test_score_and_gradient(adapter, target, y_of):
    explanation = explain(adapter, target)
    y, g = gradient(y_of)
    assert torch.allclose(explanation.score.double(), y, atol=1e-5)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


def test_a_function_has_a_name_in_the_metadata():
    assert FunctionAdapter(energy).options() == {"function": "energy", "inputs": []}
    assert TWO.inputs == ("weights", "which")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"weight": 1}, "target has 'weight'; it can have weights, which"),
        ({"weights": (1.0, 2.0)}, r"weights has shape \(2,\); wanted"),
        ({"which": 0.5}, "which has dtype float32"),
        (3, "target 3 is not read"),
    ],
)
def test_what_does_not_fit_is_said(target, said):
    with pytest.raises(InputError, match=said):
        explain(TWO, target)


def test_functions_that_do_not_fit_are_said():
    with pytest.raises(
        ModelError, match=r"the function gives \(2, 5\); wanted floating-point \[b\] with b = 2"
    ):
        explain(FunctionAdapter(lambda z: z))
    with pytest.raises(ModelError, match="the function failed on the model's outputs: KeyError"):
        explain(FunctionAdapter(lambda z: {}["logits"]))
    with pytest.raises(InputError, match="function is 3; wanted a callable"):
        FunctionAdapter(3)
    with pytest.raises(InputError, match="examples has the name 'two words'"):
        FunctionAdapter(energy, (("two words", 1),))
