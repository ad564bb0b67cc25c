"""TorchScript, whole or as a part: what needs no layer is right, what cannot be seen is said."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from camport.errors import LayerError, ReluRuleWarning
from tests.nets import images, seeded

# torch.jit is deprecated, and files of it are not
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


class Parts(nn.Module):
    """A body that may be TorchScript, and a head in Python with a ReLU of its own."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.last = body, nn.Conv2d(6, 8, 3, 1, 1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

    def forward(self, x):
        return self.head(F.relu(self.last(self.body(x))))


def body() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())


def eager() -> nn.Module:
    return seeded(Parts(body()), dtype=torch.float32)


X = images(2, (16, 20), torch.float32)


def whole(form: str) -> nn.Module:
    model = eager()
    if form == "traced":
        return torch.jit.trace(model, X)
    scripted = torch.jit.script(model)
    return torch.jit.freeze(scripted) if form == "frozen" else scripted


def part(form: str) -> nn.Module:
    model = eager()
    model.body = (
        torch.jit.trace(model.body, X) if form == "traced" else torch.jit.script(model.body)
    )
    return model


FORMS = ["scripted", "traced"]


@pytest.mark.parametrize("form", [*FORMS, "frozen"])
@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "occlusion"])
def test_methods_without_layers_are_the_originals(form, method):
    wanted = camport.explain(eager(), X, method, 1)
    for model in (whole(form), *([] if form == "frozen" else [part(form)])):
        torch.testing.assert_close(
            camport.explain(model, X, method, 1).raw, wanted.raw, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("form", FORMS)
def test_layers_outside_are_explained_and_chosen(form):
    for layer in ("last", None):
        wanted = camport.explain(eager(), X, "gradcam", 1, layer=layer)
        got = camport.explain(part(form), X, "gradcam", 1, layer=layer)
        assert got.layers == wanted.layers == ("last",)
        torch.testing.assert_close(got.raw, wanted.raw, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["gradcam", "eigencam", "scorecam", "guided_gradcam"])
def test_layers_inside_are_refused_in_a_sentence(form, method):
    for model, layer in ((whole(form), "last"), (part(form), "body.0")):
        with pytest.raises(
            LayerError, match=rf"layer '{re.escape(layer)}' is TorchScript.*give the nn.Module"
        ):
            camport.explain(model, X, method, 1, layer=layer)
    with pytest.raises(
        LayerError, match=r"no target layer can be chosen.*give the model it was made of"
    ):
        camport.explain(whole(form), X, method, 1)


def test_a_traced_part_as_a_whole_is_a_layer():
    """Its own output is seen; that of a scripted one is not."""
    wanted = camport.explain(eager(), X, "gradcam", 1, layer="body")
    got = camport.explain(part("traced"), X, "gradcam", 1, layer="body")
    torch.testing.assert_close(got.raw, wanted.raw, rtol=1e-4, atol=1e-6)
    with pytest.raises(LayerError, match="layer 'body' is TorchScript"):
        camport.explain(part("scripted"), X, "gradcam", 1, layer="body")


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize("form", FORMS)
def test_a_relu_rule_says_where_it_does_not_reach(form, method):
    """Beside a part in TorchScript it reaches the ReLU in Python,
    so that nothing else would tell."""
    with pytest.warns(
        ReluRuleWarning, match="does not reach into TorchScript: through the ReLUs of the model the"
    ):
        got = camport.explain(whole(form), X, method, 1)
    torch.testing.assert_close(
        got.raw, camport.explain(eager(), X, "saliency", 1).raw, rtol=1e-4, atol=1e-5
    )
    with pytest.warns(
        ReluRuleWarning, match="through the ReLUs of 'body' the gradient is the plain one"
    ):
        camport.explain(part(form), X, method, 1)


def test_a_script_without_relus_is_no_reason_to_warn():
    model = eager()
    model.head = torch.jit.script(model.head)
    wanted = camport.explain(eager(), X, "guided_backprop", 1)
    torch.testing.assert_close(
        camport.explain(model, X, "guided_backprop", 1).raw, wanted.raw, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_a_relu_rule_reaches_the_operators_of_an_exported_program(method):
    wanted = camport.explain(eager(), X, method, 1)
    exported = torch.export.export(eager(), (X,)).module()
    torch.testing.assert_close(
        camport.explain(exported, X, method, 1).raw, wanted.raw, rtol=1e-4, atol=1e-6
    )


def test_a_relu6_written_with_positional_arguments():
    """F.hardtanh(x, 0, 6) is a ReLU6 however its numbers are given."""

    class Six(Parts):
        def forward(self, x):
            return self.head(self.six(self.last(self.body(x))))

    found = []
    for six in (
        F.relu6,
        lambda x: F.hardtanh(x, 0.0, 6.0),
        lambda x: F.hardtanh(x, min_val=0.0, max_val=6.0),
    ):
        model = seeded(Six(body()), dtype=torch.float32)
        model.six = six
        found.append(camport.explain(model, X, "guided_backprop", 1).raw)
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])
