import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from camport.adapters import ClassificationAdapter
from camport.core.isolation.private_copy import double_of
from camport.core.maps.fusion import over_layers
from camport.core.maps.loop import limited
from camport.core.probe import Probe
from camport.core.running.evaluation import Evaluation
from camport.core.running.layers import LayerName
from camport.errors import MethodError
from tests.nets import Net, TokenNet, images, seeded

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")  # random networks


def probe(model, x, layer="features", target=1, needs_gradients=True, **options):
    targets = {"target": torch.full((len(x),), target)}
    layers = [LayerName(layer)]
    seen = Evaluation(
        double_of(model), ClassificationAdapter(), layers, x, targets, records=needs_gradients
    )
    return Probe(seen, **options)


def test_the_backward_pass_ends_at_the_layer():
    ran = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            ran.append("backward before the layer")
            return g

    class Front(Net):
        def forward(self, x):
            return self.head(self.features(Watched.apply(x)))

    model, x = seeded(Front()), images()
    found = probe(model, x).gradients
    a = model.features(x).detach().requires_grad_()
    (wanted,) = torch.autograd.grad(model.head(a)[:, 1].sum(), a)
    assert torch.allclose(found[0], wanted)
    assert not ran


def test_one_forward_pass_serves_all():
    passes = []

    class Counted(Net):
        def forward(self, x):
            passes.append(len(x))
            return super().forward(x)

    for bound in (
        camport.bind(seeded(Counted()), "gradcam", "features"),
        camport.bind(seeded(Counted()), "saliency"),
    ):
        bound(images(), 1)
        assert passes == [3, 1, 1]  # at first, two of them alone: do they mix?
        passes.clear()
        bound(images(), 1)
        assert passes == [3]
        passes.clear()


def test_activations_alone_record_nothing():
    recorded = []

    class Watching(Net):
        def forward(self, x):
            y = super().forward(x)
            recorded.append(y.requires_grad)
            return y

    camport.explain(seeded(Watching()), images(), "feature_maps", 1, "features")
    assert recorded == [False] * 3  # the batch, and two of its images alone


def test_score_with_the_target_of_the_clean_image():
    model, x = seeded(Net()), images(2)
    p = probe(model, x, target=-1)
    variants = images(10, seed=5).unflatten(0, (5, 2))
    top = model(x).argmax(1)
    wanted = torch.stack([model(v)[torch.arange(2), top] for v in variants])
    assert torch.allclose(p.score(variants), wanted, rtol=1e-12)


def test_loops_run_in_chunks_and_tell_how_far_they_are():
    passes, seen = [], []

    class Counted(Net):
        def forward(self, x):
            passes.append(len(x))
            return super().forward(x)

    model, x = seeded(Counted()), images(2)
    p = probe(model, x, target=-1, chunk=4, progress=lambda done, total: seen.append((done, total)))
    codes = torch.linspace(0, 1, 5)
    got = p.each([codes], lambda c: p.score(x * c[:, None, None, None, None]))
    assert passes == [2, 1, 1, 4, 4, 2]  # each of the two alone: do they mix?
    assert seen == [(4, 10), (8, 10), (10, 10)]
    assert torch.allclose(got[2], p.score(x[None] * codes[2])[0], atol=1e-6)
    summed = p.total([codes], lambda c: p.score(x * c[:, None, None, None, None]))
    assert torch.allclose(summed, got.sum(0), atol=1e-6)


def test_variants_known_to_be_alike_run_once():
    runs = []
    p = probe(seeded(Net()), images(1))
    codes = torch.tensor([0.0, 3.0, 0.0, 4.0, 0.0])

    def step(c):
        runs.append(len(c))
        return c * 2

    assert p.each([codes], step, same=codes == 0).tolist() == [0, 6, 0, 8, 0]
    assert runs == [3]


class UNet(nn.Module):
    """Values bypass the layer: a skip connection by concatenation, one by addition,
    and a reused activation."""

    def __init__(self):
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1)
        self.act = nn.ReLU(inplace=True)
        self.mid, self.up = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        s = self.act(self.stem(x))
        d = self.act(self.deep(s))
        d = self.act(self.mid(d) + d)
        u = self.up(torch.cat([F.interpolate(d, s.shape[2:]), s], 1))
        return self.fc((self.act(u) + s).mean((2, 3)))


@pytest.mark.parametrize("layer", ["stem", "deep", "mid", "up"])
def test_tail_equals_the_whole_model(layer):
    model, x = seeded(UNet()), images(2)
    p = probe(model, x, layer, chunk=2)
    a = p.activations[0]
    variants = torch.stack([a, a * 0.5, a.flip(2), a * 0])
    got = p.each([variants], p.tail())
    for r in range(4):
        handle = model.get_submodule(layer).register_forward_hook(
            lambda m, i, o, r=r: variants[r].clone()
        )
        wanted = model(x)[:, 1]
        handle.remove()
        assert torch.allclose(got[r], wanted, rtol=1e-12)


def test_tail_does_not_run_what_lies_before():
    ran = []

    class Noted(nn.Conv2d):
        def forward(self, x):
            ran.append(len(x))
            return super().forward(x)

    model = Net()
    model.features[0] = Noted(3, 6, 3, padding=1)
    model, x = seeded(model), images(1)
    p = probe(model, x)
    a = p.activations[0]
    ran.clear()
    p.tail()(a.expand(50, *a.shape))
    assert ran == [1]  # once, to record


@pytest.mark.parametrize(
    ("trait", "value", "says"),
    [("needs_gradients", False, "declares needs_gradients = False"), ("needs_layer", False, "")],
)
def test_traits_are_verified(trait, value, says):
    class Liar(camport.Explainer):
        name, title, paper, family, needs_gradients = "liar", "Liar", "-", "activation", True

        def saliency(self, probe):
            return (
                probe.input_gradient().amax(1) if trait == "needs_gradients" else probe.images[:, 0]
            )

    setattr(Liar, trait, value)
    with pytest.raises(MethodError, match=says or "but its saliency did not use them"):
        camport.explain(seeded(Net()), images(), Liar(), 1, layer="features")


def test_a_map_of_the_wrong_shape_is_refused():
    class Wrong(camport.Explainer):
        name, title, paper, family, needs_gradients = "w", "W", "-", "activation", False

        def saliency(self, probe):
            return probe.activations[0].sum()

    with pytest.raises(MethodError, match=r"wanted \[b,h,w\]"):
        camport.explain(seeded(Net()), images(), Wrong(), 1, layer="features")


def test_plain_lists_of_modules_and_bound_methods_use_the_double():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
            self.steps = [self.conv, torch.relu]
            self.call = self.run

        def run(self, x):
            for step in self.steps:
                x = step(x)
            return self.fc(x.mean((2, 3)))

        def forward(self, x):
            return self.call(x)

    model, x = seeded(Odd()), images()
    g = camport.explain(model, x, "gradcam", 1, "conv").gradients[0]
    a = model.conv(x).detach().requires_grad_()
    wanted = torch.autograd.grad(model.fc(a.relu().mean((2, 3)))[:, 1].sum(), a)[0]
    assert torch.allclose(g, wanted)


def test_weights_changed_after_binding_are_seen():
    model, x = seeded(Net()), images()
    bound = camport.bind(model, "feature_maps", "features")
    before = bound(x, 1).raw
    with torch.no_grad():
        model.features[3].weight.mul_(2)
    assert not torch.allclose(before, bound(x, 1).raw)
    model.features[3] = nn.Conv2d(6, 8, 1).double()
    assert bound(x, 1).raw.shape[-1] == 18


def test_a_probe_elsewhere_keeps_model_and_target():
    model, x = seeded(Net()), images(2)
    p = probe(model, x, target=-1)
    noisy = images(6, seed=4).unflatten(0, (3, 2))
    other = p.at(noisy)
    assert other.y.shape == (6,)
    assert torch.allclose(other.y, p.score(noisy).flatten(), rtol=1e-12)
    assert other.gradients[0].shape == (6, *p.activations[0].shape[1:])
    assert p.at(layers=["features.0"]).activations[0].shape[0] == 2


def test_products_at_several_layers_come_from_one_forward_pass():
    passes = []

    class Counted(Net):
        def forward(self, x):
            passes.append(len(x))
            return super().forward(x)

    bound = camport.bind(seeded(Counted()), "shapleycam", layer=["features.0", "features.3"])
    bound(images(1), 1)
    passes.clear()
    bound(images(1), 1)
    assert passes == [1]


def test_hessian_product_is_the_derivative_of_the_gradient():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 2)
    ).double()
    x, v = torch.randn(2, 3, 8, 8).double(), torch.randn(2, 4, 6, 6).double()
    p = probe(model, x, "0")
    (a,) = p.activations
    (got,) = p.hessian_product([v])
    t = torch.tanh(a)
    second = -2 * t * (1 - t**2) * model[3].weight[1].reshape(4, 6, 6)
    assert torch.allclose(got, second * v, atol=1e-12)
    linear = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
    ).double()
    assert probe(linear, x, "0").hessian_product([v])[0].abs().max() == 0


@pytest.mark.parametrize("recorded", [True, False])
def test_hessian_product_behind_a_fused_attention(recorded):
    """PyTorch's fused kernels have a gradient, but that has none;
    the other way is the difference of two gradients."""
    model, x, layer, step = seeded(TokenNet()), images(2), "blocks.1.norm1", 1e-5
    p = probe(model, x, layer)
    v = torch.randn(
        p.activations[0].shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0)
    )
    if not recorded:
        _ = p.gradients
    (got,), (again,) = p.hessian_product([v]), p.hessian_product([2 * v])
    tokens = F.pad(v.flatten(2).transpose(1, 2), (0, 0, 1, 0))  # nothing at the class token

    def moved(by):
        model.blocks[1].norm1.register_forward_hook(
            lambda module, args, output: output + by * tokens
        )
        (gradient,) = probe(model, x, layer).gradients
        model.blocks[1].norm1._forward_hooks.clear()
        return gradient

    wanted = (moved(step) - moved(-step)) / (2 * step)
    assert wanted.norm() > 0
    assert (got - wanted).norm() / wanted.norm() < 1e-6
    assert torch.allclose(again, 2 * got, rtol=1e-12)


def test_limited_loops_repeat_what_they_ran():
    p = probe(seeded(Net()), images(1))
    codes = torch.arange(5.0)
    with limited(2):
        assert p.each([codes], lambda c: c).tolist() == [0, 1, 0, 1, 0]
        assert p.total([codes], lambda c: c) == 1
    assert p.total([codes], lambda c: c) == 10


def test_a_score_as_a_probability():
    model, x = seeded(Net()), images(2)
    variants = images(4, seed=5).unflatten(0, (2, 2))
    wanted = torch.stack([model(v).softmax(1)[:, 1] for v in variants])
    assert torch.allclose(probe(model, x).score(variants, probability=True), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    "score_as", ["logit", "log_probability", "probability", "binary", "regression"]
)
def test_what_a_probability_is(score_as):
    z = (
        images(1).flatten()[:1, None]
        if score_as == "binary"
        else torch.randn(3, 4, dtype=torch.float64)
    )
    target = {"target": torch.zeros(len(z), dtype=torch.int64)}
    found = ClassificationAdapter(score_as=score_as).probability(z, target)
    wanted = {"binary": torch.sigmoid(-z[:, 0]), "regression": z[:, 0]}.get(
        score_as, z.softmax(1)[:, 0]
    )
    assert torch.allclose(found, wanted)


def test_figures_are_eager():
    class Noting(camport.Explainer):
        name, title, paper, family, needs_gradients, needs_layer = (
            "n",
            "n",
            "-",
            "input-gradient",
            True,
            False,
        )

        def saliency(self, probe):
            gradient = probe.input_gradient()
            probe.note("norm", lambda: gradient.flatten(1).norm(dim=1))
            return gradient.sum(1)

    x = images(2)
    explanation = camport.explain(seeded(Net()), x, Noting(), 1)
    assert explanation.figures["norm"].shape == (2,)
    assert not camport.explain(seeded(Net()), x, "gradcam", 1).figures


def test_activations_are_there_after_the_images_gradient():
    """The pass for the gradient with respect to the images runs no hook of a layer,
    so it stands for no other."""

    class GradientFirst(camport.Explainer):
        name, title, paper, family, needs_gradients = "f", "f", "-", "activation", True

        def saliency(self, probe):
            steep = probe.input_gradient().abs().amax((1, 2, 3))
            return steep[:, None, None] * over_layers(probe, lambda a, g: (a * g).sum(1), "max")

    model, x = seeded(Net()), images()
    found = camport.explain(model, x, GradientFirst(), 1, "features")
    (a,), (g,) = found.activations, found.gradients
    steep = camport.explain(model, x, "saliency", 1).raw.amax((1, 2))
    assert torch.allclose(found.raw, steep[:, None, None] * (a * g).sum(1).float(), rtol=1e-5)
