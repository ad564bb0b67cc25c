"""Numbers that are not finite are refused by name; rounding noise of a constant map is flat."""

import warnings

import pytest
import torch
from torch import nn

import camport
from camport.adapters import ClassificationAdapter, FunctionAdapter
from camport.core.maps.heatmap import minmax, upsample
from camport.errors import DoubtWarning, FlatMapWarning, InputError, MethodError, ModelError
from tests.nets import Net, images, seeded

X = images()
NAN = float("nan")


@pytest.mark.parametrize("method", ["gradcam", "eigencam", "saliency", "rise", "scorecam"])
@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_a_weight_is_named(method, value):
    net = seeded(Net())
    with torch.no_grad():
        net.head[5].weight[2, 3] = value
    with pytest.raises(ModelError, match=r"'head.5.weight' has \d NaN and \d infinite values"):
        camport.explain(net, X, method, 2, "features")


def test_the_first_module_that_is_not_finite_is_named():
    class Logs(nn.Module):
        def forward(self, x):
            return (x - x.amax()).log()

    net = seeded(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), Logs(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    with pytest.raises(
        ModelError,
        match=r"'2' \(Logs\) puts out \(3, 4, 12, 16\) float64 with \d+ NaN and \d+ infinite",
    ):
        camport.explain(net, X, "gradcam", 1, "0")


def test_half_precision_that_overflows_says_so():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).half()
    with torch.no_grad():
        net[0].weight.fill_(100.0)
    with pytest.raises(
        ModelError, match=r"'0' \(Conv2d\) puts out .* float16 .*run the model in float32"
    ):
        camport.explain(net, torch.full((1, 3, 8, 8), 6e4, dtype=torch.float16), "gradcam", 1, "0")


def test_a_method_that_divides_by_zero_is_named():
    class Divides(camport.Explainer):
        """Divides."""

        name, title, paper, family, needs_gradients = "divides", "Divides", "-", "activation", False

        def saliency(self, probe):
            a = probe.activations[0].sum(1)
            return a / (a - a)

    with pytest.raises(
        MethodError,
        match=r"divides: the map of image 0 has \d+ NaN and \d+ infinite values, while the score",
    ):
        camport.explain(seeded(Net()), X, Divides(), 1, "features")


def test_a_function_that_is_not_finite_is_named():
    adapter = FunctionAdapter(lambda z: z[:, 0] * NAN)
    with pytest.raises(
        ModelError, match="the score of image 0 is nan, while every module's output is finite"
    ):
        camport.explain(seeded(Net()), X, "gradcam", layer="features", adapter=adapter)


def test_targets_that_are_not_finite():
    adapter = ClassificationAdapter(score_as="weighted_sum")
    with pytest.raises(InputError, match="weights have values that are NaN or infinite"):
        camport.explain(seeded(Net()), X, "gradcam", torch.full((5,), NAN), "features", adapter)
    adapter = FunctionAdapter(lambda z, w: (z * w).sum(1), examples=(("w", (0.0,) * 5),))
    with pytest.raises(InputError, match="w has 5 values that are NaN or infinite"):
        camport.explain(
            seeded(Net()), X, "gradcam", torch.full((5,), float("inf")), "features", adapter
        )


@pytest.mark.parametrize("value", [1.0, 7e-12, -3e5])
def test_rounding_noise_of_a_constant_map_is_flat(value):
    noise = torch.randn(2, 9, 7, generator=torch.Generator().manual_seed(0)).sign() * 1.2e-7
    assert not minmax(value * (1 + noise)).any()
    assert not minmax(upsample(torch.full((2, 3, 3), value), (64, 90))).any()


def test_a_small_map_is_no_flat_one():
    small = torch.rand(2, 9, 7, generator=torch.Generator().manual_seed(1)) * 1e-12
    low, high = small.amin((1, 2), keepdim=True), small.amax((1, 2), keepdim=True)
    torch.testing.assert_close(minmax(small), (small - low) / (high - low))


def test_a_flat_map_and_its_warning_agree():
    class Constant(camport.Explainer):
        """Constant."""

        name, title, paper, family, needs_gradients = (
            "constant",
            "Constant",
            "-",
            "activation",
            False,
        )

        def saliency(self, probe):
            return torch.ones_like(probe.activations[0][:, 0]) + probe.activations[0][:, 0] * 1e-9

    with pytest.warns(FlatMapWarning, match="constant map: every location has the value 1"):
        e = camport.explain(seeded(Net()), X, Constant(), 1, "features")
    assert not e.heatmap.any()


class Stretched(nn.Module):
    """Each image is stretched to [0,1] by its own extremes, of which a constant one has none."""

    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x):
        low, high = x.amin((1, 2, 3), True), x.amax((1, 2, 3), True)
        return self.head(self.features((x - low) / (high - low)).relu().mean((2, 3)))


def test_a_variant_whose_score_is_not_finite_is_the_models():
    class Covered(camport.Explainer):
        name, title, family = (
            "covered",
            "The score of an image that is covered wholly",
            "perturbation",
        )
        needs_gradients = False

        def saliency(self, probe):
            black = torch.zeros_like(probe.images)[None]
            return probe.activations[0].mean(1) * probe.score(black)[0][:, None, None]

    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        ModelError,
        match="finite for the images and not for all variants of them that covered makes",
    ):
        camport.explain(seeded(Stretched(), dtype=torch.float32), x, Covered, target=1)


@pytest.mark.parametrize(
    ("method", "scale"), [("occlusion", 0.05), ("rise", 0.02), ("ablationcam", 0.02)]
)
def test_scores_that_differ_by_rounding_alone_make_noise(method, scale):
    """In half precision: a score near 8 has steps of 2^-7,
    and what a part of the image adds is less."""
    net = seeded(Net(), dtype=torch.float32)
    last = net.head[-1]
    with torch.no_grad():
        last.weight.mul_(scale)
        last.bias.add_(8)
    x = images(1).to(torch.float16)
    with pytest.warns(
        DoubtWarning,
        match=f"{method}: the scores of the variants of image 0 differ by no more than the",
    ):
        camport.explain(net.half(), x, method, target=1, layer="features")


def test_scores_of_full_precision_are_told_apart():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DoubtWarning)
        camport.explain(seeded(Net()), images(1), "rise", target=1)
