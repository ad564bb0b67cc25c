"""What peers get wrong without saying so, each one a regression test (the trap is named in the
test)."""

import threading
import warnings
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from camport.adapters import ClassificationAdapter
from camport.core.isolation.private_copy import double_of
from camport.core.probe import Probe
from camport.core.running.evaluation import Evaluation
from camport.errors import FlatMapWarning, LayerError, ReluRuleWarning, ReusedLayerWarning
from tests.nets import Net, images, seeded

METHODS = ["gradcam", "gradcam++", "hirescam", "xgradcam", "layercam", "saliency", "feature_maps"]
pytestmark = [
    pytest.mark.filterwarnings("ignore::camport.errors.GuardWarning"),
    # random networks often speak against
    pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning"),
]


@pytest.mark.parametrize("method", METHODS)
def test_in_place_relu_right_after_the_layer(method):
    plain, inplace = seeded(Net()), seeded(Net(inplace=True))
    x = images()
    ours = camport.explain(inplace, x, method, 2, "features")
    assert torch.equal(ours.raw, camport.explain(plain, x, method, 2, "features").raw)


@pytest.mark.parametrize("method", METHODS)
def test_all_parameters_frozen(method):
    free, frozen = seeded(Net()), seeded(Net()).requires_grad_(False)
    x = images()
    ours = camport.explain(frozen, x, method, 2, "features")
    assert torch.equal(ours.raw, camport.explain(free, x, method, 2, "features").raw)


def fingerprint(model):
    return {
        "modes": [m.training for m in model.modules()],
        "values": [p.clone() for p in [*model.parameters(), *model.buffers()]],
        "tensors": [
            v.clone()
            for m in model.modules()
            for v in vars(m).values()
            if isinstance(v, torch.Tensor)
        ],
        "versions": [p._version for p in [*model.parameters(), *model.buffers()]],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "requires": [p.requires_grad for p in model.parameters()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in model.modules()
        ],
        "attributes": [sorted(m.__dict__) for m in model.modules()],
        "random": torch.get_rng_state(),
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("raises", [False, True])
def test_model_is_left_as_found(method, raises):
    class Dropping(Net):
        raises = False

        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.mean = torch.zeros(3, 1, 1)

        def forward(self, x):
            self.calls += 1  # writes into what it holds
            self.mean.copy_(x.mean((0, 2, 3))[:, None, None])
            y = super().forward(F.dropout(x, 0.1, training=True))  # draws also in evaluation mode
            if self.raises:
                raise RuntimeError("not today")
            return y

    model = seeded(Dropping()).train()
    model.features[0].eval()
    model.head[1].weight.requires_grad_(False)
    model(images()).sum().backward()
    model.features[2].register_forward_hook(lambda *a: None)
    model.raises = raises
    before = fingerprint(model)
    bound = camport.bind(model, method, "features")
    if raises:
        with pytest.raises(camport.CamportError, match=r"not today"):
            bound(images(), 1)
    else:
        bound(images(), 1)
    assert same(before, fingerprint(model))


def test_training_mode_is_explained_in_evaluation_mode():
    model = seeded(Net())
    x = images()
    expected = camport.explain(model, x, target=1, layer="features").raw
    assert torch.equal(camport.explain(model.train(), x, target=1, layer="features").raw, expected)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_an_exception_inside_the_users_with_block_arrives(context):
    bound = camport.bind(seeded(Net()), layer="features")
    with pytest.raises(KeyError, match=r"mine"), context():  # noqa: PT012 - the block is the user's
        bound(images(), 1)
        raise KeyError("mine")


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_under_no_grad_and_inference_mode(context):
    model, x = seeded(Net()), images()
    expected = camport.explain(model, x, target=1, layer="features").raw
    with context():
        assert torch.equal(
            camport.explain(model, x.clone(), target=1, layer="features").raw, expected
        )
        made_inside = seeded(Net())
    assert torch.equal(camport.explain(made_inside, x, target=1, layer="features").raw, expected)


class Twice(nn.Module):
    """One convolution that runs twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.shared = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.shared(self.shared(self.stem(x)).relu()).relu().mean((2, 3)))


def test_a_module_that_runs_twice_is_said_and_can_be_chosen():
    model, x = seeded(Twice()), images()
    with pytest.warns(ReusedLayerWarning, match=r"runs 2 times.*'shared@0'"):
        last = camport.explain(model, x, target=1, layer="shared")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = camport.explain(model, x, target=1, layer="shared@0")
        second = camport.explain(model, x, target=1, layer="shared@1")
    assert torch.equal(last.raw, second.raw)
    assert not torch.allclose(first.raw, second.raw)
    a0 = model.stem(x).detach()
    a0 = model.shared(a0).detach().requires_grad_()
    g0 = torch.autograd.grad(model.fc(model.shared(a0.relu()).relu().mean((2, 3)))[:, 1].sum(), a0)[
        0
    ]
    wanted = (g0.mean((2, 3), keepdim=True) * a0).sum(1).relu()
    assert torch.allclose(first.raw.double(), wanted.detach(), rtol=1e-5, atol=1e-7)
    with pytest.raises(LayerError, match=r"ran 2 times.*run 2 does not exist"):
        camport.explain(model, x, target=1, layer="shared@2")


@dataclass
class ModelOutput:
    loss: None
    logits: torch.Tensor


Named = namedtuple("Named", "logits features")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda z: {"logits": z, "aux": z * 2},
        lambda z: (z, z.sum()),
        lambda z: [z],
        lambda z: Named(z, None),
        lambda z: ModelOutput(None, z),
        lambda z: {"aux": None, "out": {"deep": z}},
    ],
    ids=["dict", "tuple", "list", "namedtuple", "ModelOutput", "nested"],
)
def test_outputs_of_many_kinds(wrap):
    class Wrapped(Net):
        def forward(self, x):
            return wrap(super().forward(x))

    x = images()
    ours = camport.explain(seeded(Wrapped()), x, target=1, layer="features")
    assert torch.equal(ours.raw, camport.explain(seeded(Net()), x, target=1, layer="features").raw)
    assert type(ours.outputs) is type(wrap(torch.zeros(1)))


class Side(Net):
    """Has modules that do not lead to the score."""

    def __init__(self):
        super().__init__()
        self.side, self.idle = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x):
        self.side(x)
        return super().forward(x)


def test_layer_with_no_path_to_the_score():
    with pytest.raises(LayerError, match=r"score does not depend on.*'?side"):
        camport.explain(seeded(Side()), images(), target=1, layer="side")
    with pytest.raises(LayerError, match=r"score does not depend on.*side"):
        camport.explain(seeded(Side()), images(), target=1, layer=["side", "features"])
    with pytest.raises(LayerError, match=r"'idle' did not run"):
        camport.explain(seeded(Side()), images(), target=1, layer="idle")


@pytest.mark.parametrize("method", METHODS)
def test_batch_of_several_images_with_several_targets(method):
    model, x, target = seeded(Net()), images(4), torch.tensor([0, 3, -1, 2])
    together = camport.explain(model, x, method, target, "features")
    for i in range(4):
        alone = camport.explain(model, x[i : i + 1], method, int(target[i]), "features")
        assert torch.allclose(together.raw[i], alone.raw[0], rtol=1e-5, atol=1e-9)
        assert together.target[i] == alone.target[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(method, dtype):
    x = images()
    expected = camport.explain(seeded(Net()), x, method, 1, "features").heatmap
    model = seeded(Net()).to(dtype)
    ours = camport.explain(model, x.to(dtype), method, 1, "features")
    assert ours.heatmap.dtype == torch.float32
    bound = 0.02 if dtype == torch.float16 else 0.15
    assert (ours.heatmap - expected).abs().mean() < bound / 2
    assert bool(ours.heatmap.isfinite().all())


def test_half_precision_does_not_underflow():
    class Faint(Net):
        def forward(self, x):
            return super().forward(x) * 1e-3

    x, target = images(), 1
    expected = camport.explain(seeded(Faint()), x, "hirescam", target, "features").heatmap
    ours = camport.explain(seeded(Faint()).half(), x.half(), "hirescam", target, "features").heatmap
    assert (ours - expected).abs().mean() < 0.01


def test_autocast():
    model, x = seeded(Net(), dtype=torch.float32), images().float()
    expected = camport.explain(model, x, target=1, layer="features").heatmap
    with torch.autocast("cpu", torch.bfloat16):
        ours = camport.explain(model, x, target=1, layer="features").heatmap
    assert (ours - expected).abs().mean() < 0.05


class FunctionalReLU(nn.Module):
    """The same network by modules, functions, in-place functions and one reused module."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.a, self.b, self.fc = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 6, 3), nn.Linear(6, 4)
        self.act = nn.ReLU(inplace=kind == "in-place module")

    def relu(self, x):
        if "module" in self.kind:
            return self.act(x)
        return {"F": F.relu, "torch": torch.relu, "method": torch.Tensor.relu, "F.relu_": F.relu_}[
            self.kind
        ](x)

    def forward(self, x):
        return self.fc(self.relu(self.b(self.relu(self.a(x)))).mean((2, 3)))


KINDS = ["module", "in-place module", "F", "torch", "method", "F.relu_"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
def test_relu_rules_act_on_functions(kind, rule):
    model, x = seeded(FunctionalReLU(kind)), images(2)
    target = {"target": torch.tensor([1, 2])}
    probe = Probe(
        Evaluation(double_of(model), ClassificationAdapter(), [], x, target, records=False)
    )
    ours = probe.input_gradient(relu=rule)
    # by hand: y = fc(mean(relu(b(relu(a x)))))
    h1 = model.a(x).detach()
    h2 = model.b(h1.relu()).detach()
    g = (
        (model.fc.weight[[1, 2]] / (h2.shape[2] * h2.shape[3]))[:, :, None, None]
        .expand_as(h2)
        .detach()
    )
    g = g.relu() * ((h2 > 0) if rule == "guided" else 1)
    g = F.conv_transpose2d(g, model.b.weight).relu() * ((h1 > 0) if rule == "guided" else 1)
    g = F.conv_transpose2d(g, model.a.weight)
    assert torch.allclose(ours, g.detach(), rtol=1e-9, atol=1e-12)
    assert not torch.allclose(ours, probe.input_gradient())
    assert probe.relus_met == 2


def test_two_threads_with_one_model():
    model, x = seeded(Net(), dtype=torch.float32).train(), images(2, (40, 40)).float()
    layers = ["features.0", "features.3", "head.1"]
    expected = {layer: camport.explain(model, x, target=1, layer=layer).raw for layer in layers}
    wrong = []

    def work(layer):
        for _ in range(15):
            if not torch.equal(
                camport.explain(model, x, target=1, layer=layer).raw, expected[layer]
            ):
                wrong.append(layer)

    threads = [threading.Thread(target=work, args=(layer,)) for layer in layers]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert model.training


def test_flat_maps_are_zeros_and_say_why():
    class Dead(Net):
        def forward(self, x):
            return super().forward(x) * 0

    with pytest.warns(FlatMapWarning, match=r"dead gradient"):
        explanation = camport.explain(seeded(Dead()), images(), target=1, layer="features")
    assert not explanation.heatmap.any()
    assert bool(explanation.heatmap.isfinite().all())

    class Against(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            a = self.features(x).relu() + 1
            return torch.stack([a.mean((1, 2, 3)), -a.mean((1, 2, 3))], 1)

    model = seeded(Against())
    with torch.no_grad():
        model.features.bias.fill_(50.0)
    with pytest.warns(FlatMapWarning, match=r"negative evidence only"):
        camport.explain(model, images(), target=1, layer="features")


def test_scale_of_the_score_does_not_change_the_heatmap():
    class Scaled(Net):
        def forward(self, x):
            return super().forward(x) * 1e-12

    x = images()
    for method in ("gradcam", "hirescam", "xgradcam", "layercam", "saliency"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            a = camport.explain(seeded(Scaled()), x, method, 1, "features").heatmap
            b = camport.explain(seeded(Net()), x, method, 1, "features").heatmap
        assert torch.allclose(a, b, atol=1e-5), method


def test_relu_rule_without_relu_is_said():
    class Guided(camport.Explainer):
        name, title, paper, family, needs_gradients, needs_layer = (
            "g",
            "g",
            "-",
            "input-gradient",
            True,
            False,
        )

        def saliency(self, probe):
            return probe.input_gradient(relu="guided").abs().amax(1)

    model = seeded(
        nn.Sequential(nn.Conv2d(3, 2, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    with pytest.warns(ReluRuleWarning, match=r"no ReLU"):
        camport.explain(model, images(), Guided(), 1)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
def test_relu_rules_act_on_relu6(rule, inplace):
    """nn.ReLU6 calls F.hardtanh; a hard tanh that is no ReLU is left alone."""
    results = []
    for act in (nn.ReLU6(inplace), nn.ReLU(), nn.Hardtanh()):
        model = seeded(
            nn.Sequential(nn.Conv2d(3, 4, 3), act, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        )
        target = {"target": torch.tensor([1])}
        p = Probe(
            Evaluation(
                double_of(model), ClassificationAdapter(), [], images(1), target, records=False
            )
        )
        results.append((p.input_gradient(relu=rule), p.relus_met))
    assert [met for _, met in results] == [1, 1, 0]
    assert torch.equal(results[0][0], results[1][0])  # no value reaches 6 here
    assert not torch.equal(results[0][0], results[2][0])


@pytest.mark.parametrize(
    ("wrap", "layer"),
    [
        (torch.fx.symbolic_trace, "features.3"),
        (torch.compile, "features"),
        (nn.DataParallel, "features"),
    ],
)
def test_a_model_that_was_wrapped_or_traced(wrap, layer):
    model, x = seeded(Net()), images()
    wanted = camport.explain(model, x, "gradcam", 2, "features").raw
    assert torch.equal(camport.explain(wrap(model), x, "gradcam", 2, layer).raw, wanted)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated")
def test_a_script_says_why_it_has_no_layer():
    model, x = seeded(Net()), images()
    script = torch.jit.trace(model, x)
    with pytest.raises(
        LayerError, match=r"torch\.jit or torch\.export wrote: give the model it was made of"
    ):
        camport.explain(script, x, "gradcam", 2)
    torch.testing.assert_close(
        camport.explain(script, x, "saliency", 2).raw, camport.explain(model, x, "saliency", 2).raw
    )


class Writing(nn.Module):
    """Writes into its images and into what its stem puts out,
    which also goes around the target layer."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.stem, self.middle, self.fc = (
            nn.Conv2d(3, 4, 3),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.Linear(4, 3),
        )
        self.in_place = in_place

    def forward(self, x):
        if self.in_place:
            x -= 0.5
            x = self.stem(x)
            x *= 2
        else:
            x = self.stem(x - 0.5) * 2
        return self.fc((x + self.middle(x).relu()).amax((2, 3)))


@pytest.mark.parametrize(
    "method", ["gradcam", "ablationcam", "reciprocam", "scorecam", "saliency", "rise", "occlusion"]
)
def test_a_model_that_writes_in_place(method):
    x = images(2)
    before = x.clone()
    found, wanted = (
        camport.explain(seeded(Writing(own)), x, method, 1, "middle") for own in (True, False)
    )
    assert wanted.raw.norm() > 0
    torch.testing.assert_close(found.raw, wanted.raw)
    torch.testing.assert_close(found.score, wanted.score)
    assert torch.equal(x, before)
