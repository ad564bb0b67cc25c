"""What `bind` and `explain` take beside names, and what a model's own failure becomes."""

import pytest
import torch
from torch import nn

import camport
from camport.adapters import ClassificationAdapter
from camport.errors import InputError, LayerError, ModelError
from camport.plugins.gradcam import GradCAM
from tests.nets import Net, images, seeded

X = images()


def test_a_module_of_the_model_is_a_layer():
    model = seeded(Net())
    named = camport.bind(model, "gradcam", layer="features.3")(X, 0)
    given = camport.bind(model, "gradcam", layer=model.features[3])(X, 0)
    assert given.layers == ("features.3",)
    assert torch.equal(given.raw, named.raw)
    # a Sequential can be iterated over
    whole = camport.bind(model, "gradcam", layer=model.features)
    assert whole.layers == ("features",)


def test_modules_and_names_mix_in_a_list():
    model = seeded(Net())
    assert camport.bind(model, "gradcam", layer=[model.features[1], "head.1"]).layers == (
        "features.1",
        "head.1",
    )


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")])
def test_names_of_a_wrapped_model(wrap):
    model = seeded(Net())
    wrapped = wrap(model)
    name = next(name for name, module in wrapped.named_modules() if module is model.features[3])
    assert camport.bind(wrapped, "gradcam", layer=name).layers == ("features.3",)
    assert camport.bind(wrapped, "gradcam", layer=model.features[3]).layers == ("features.3",)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (nn.ReLU(), "ReLU that is no module of this Net"),
        (3, "layer is int 3; give a dotted name"),
        (True, "layer is bool True"),
        (b"features", "layer is bytes"),
        ([None], "layer is NoneType None"),
        ({"a": 1}, "layer is dict"),
        ("", "layer '' is Net itself"),
        ("x" * 10_000, "^no layer '.{200}' in Net"),
    ],
)
def test_other_layers_are_refused(layer, says):
    with pytest.raises(LayerError, match=says):
        camport.bind(seeded(Net()), "gradcam", layer=layer)


def test_the_model_itself_is_no_layer():
    model = seeded(Net())
    with pytest.raises(LayerError, match="layer is the model itself, Net"):
        camport.bind(model, layer=model)


def test_classes_are_methods_and_adapters():
    model = seeded(Net())
    bound = camport.bind(model, GradCAM, "features", ClassificationAdapter)
    assert torch.equal(bound(X, 0).raw, camport.bind(model, "gradcam", "features")(X, 0).raw)


@pytest.mark.parametrize("method", [3, nn.ReLU(), ["gradcam"], nn.Module, b"gradcam"])
def test_other_methods_are_refused(method):
    with pytest.raises(
        InputError,
        match=r"method is .*; give a name from `camport methods`, a subclass of Explainer",
    ):
        camport.bind(seeded(Net()), method)


@pytest.mark.parametrize("adapter", [3, None, GradCAM])
def test_other_adapters_are_refused(adapter):
    with pytest.raises(InputError, match=r"adapter is .*; give a name from `camport adapters`"):
        camport.bind(seeded(Net()), adapter=adapter)


@pytest.mark.parametrize("chunk", ["a", [], 1.5, float("nan"), 0])
def test_other_chunks_are_refused(chunk):
    with pytest.raises(InputError, match=r"chunk is .*; it is a number of images"):
        camport.bind(seeded(Net()), chunk=chunk)


def test_a_float64_model_has_a_float64_map():
    net, x = seeded(Net()), X
    e = camport.explain(net, x, "gradcam", 0, "features")
    a = net.features(x).detach().requires_grad_()
    (g,) = torch.autograd.grad(net.head(a)[:, 0].sum(), a)
    right = (g.mean((2, 3), keepdim=True) * a).sum(1).relu()
    assert e.raw.dtype == e.score.dtype == torch.float64
    assert e.heatmap.dtype == torch.float32
    torch.testing.assert_close(e.raw, right.detach(), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(e.score, net(x)[:, 0].detach(), rtol=1e-12, atol=0)


def test_targets_of_any_whole_number():
    net = seeded(Net())
    right = camport.explain(net, X, "gradcam", torch.tensor([0, 3, 4]), "features")
    for kind in (torch.uint8, torch.int16, torch.int32):
        given = camport.explain(net, X, "gradcam", torch.tensor([0, 3, 4], dtype=kind), "features")
        assert torch.equal(given.raw, right.raw)


class Fails(nn.Module):
    """A model whose forward or backward pass raises what it likes."""

    def __init__(self, error: BaseException, behind: bool = False) -> None:
        super().__init__()
        self.conv, self.error, self.behind = nn.Conv2d(3, 4, 3), error, behind

    def forward(self, x):
        if not self.behind:
            raise self.error
        return _Fails.apply(self.conv(x), self.error).mean((2, 3))


class _Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, error):
        ctx.error = error
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ctx.error


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize(
    "error", [AttributeError("no kept"), KeyError("k"), NotImplementedError("n"), OSError(5, "o")]
)
def test_whatever_a_model_raises_is_a_model_error(error, behind):
    model = seeded(Fails(error, behind))
    with pytest.raises(
        ModelError,
        match=f"{'backward pass failed' if behind else 'could not be run'}.*{type(error).__name__}",
    ):
        camport.explain(model, X, "gradcam", layer="conv", target=1)


class Moody(Net):
    """Takes the clean images and no others."""

    def forward(self, x):
        if x.shape[0] > 3:
            raise LookupError("too many")
        return super().forward(x)


@pytest.mark.parametrize(
    "method", ["scorecam", "ablationcam", "reciprocam", "rise", "occlusion", "integrated_gradients"]
)
def test_a_model_that_fails_on_variants_is_a_model_error(method):
    with pytest.raises(ModelError, match="Moody could not be run on images"):
        camport.explain(seeded(Moody(), dtype=torch.float32), X.float(), method, 1, chunk=64)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x, meta):
        return self.net(x) + meta.shape[0]


class TwoByName(Two):
    def forward(self, x, *, meta):
        return self.net(x)


class TwoOptional(Two):
    def forward(self, x, meta=None):
        return self.net(x) + meta.shape[0]


@pytest.mark.parametrize("kind", [Two, TwoByName, TwoOptional])
def test_a_second_input_is_told_with_the_remedy(kind):
    with pytest.raises(
        ModelError, match=r"explained inside a module that hands it the rest, or by an adapter"
    ):
        camport.explain(seeded(kind()), X)


def test_several_images_as_a_list_are_told_with_the_remedy():
    with pytest.raises(
        InputError, match=r"torch.stack\(images\); a model of several inputs is explained inside"
    ):
        camport.explain(seeded(Net()), [X, X])


def test_parameters_without_values_are_named():
    lazy = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(5))
    with pytest.raises(
        ModelError, match=r"'2.weight' has no shape before the model's first call; call it once"
    ):
        camport.explain(lazy, X.float())
    with pytest.raises(ModelError, match="on the meta device and has no values"):
        camport.explain(Net().to("meta"), X.float())


class HalfBehind(nn.Module):
    """Its first parameter is float32, its convolutions are not: a scale kept exact."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.conv, self.fc = nn.Conv2d(3, 4, 3).bfloat16(), nn.Linear(4, 5).bfloat16()

    def forward(self, x):
        return self.scale * self.fc(self.conv(x).mean((2, 3))).float()


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_the_images_type_is_that_of_the_first_convolution(given):
    torch.manual_seed(0)
    net = HalfBehind().eval()
    e = camport.explain(net, X.to(given), "gradcam", 1, "conv")
    exact = net.to(torch.float64)
    a = exact.conv(X.to(torch.bfloat16).double()).detach()
    right = ((exact.fc.weight[1][:, None, None] * a).sum(1).relu() / a[0, 0].numel()).detach()
    torch.testing.assert_close(e.raw.double(), right, rtol=0.03, atol=0.03 * float(right.max()))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (X.to_sparse(), "sparse_coo tensor; wanted a dense one"),
        (torch.nested.nested_tensor([X[0], X[1]], layout=torch.jagged), "nested tensor"),
        (X.to(torch.float8_e5m2), "images are float8_e5m2; wanted float32"),
        (X.to("meta"), "meta device"),
    ],
)
def test_images_of_other_kinds_are_refused(bad, says):
    with pytest.raises(InputError, match=says):
        camport.explain(seeded(Net()), bad)
