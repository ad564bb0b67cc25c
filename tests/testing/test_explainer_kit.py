"""The kit lets every registered explainer pass, and catches one broken explainer a rule."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

import camport
from camport.core import registry
from camport.core.isolation.private_copy import hook
from camport.core.maps.fusion import fuse
from camport.testing import ConformanceError, check_explainer
from camport.testing.case import Case
from camport.testing.conformance import Judge
from camport.testing.explainers import RULES
from camport.testing.fingerprint import changes, fingerprint
from camport.testing.models import frozen_parameters
from camport.testing.networks import networks
from tests.marks import mostly_rare
from tests.nets import GapNet, seeded

# one of each path to the file: a layer's gradient, the image's, and none
EXPORTED_HERE = ("gradcam", "saliency", "cam")


IN_MINUTES = (*EXPORTED_HERE, "attention_rollout", "guided_backprop")
"""The others are for `python -m tests --all`."""


@pytest.mark.parametrize(
    "name",
    mostly_rare(sorted(camport.methods()), IN_MINUTES),
)
def test_every_registered_explainer_conforms(name):
    check_explainer(registry.explainer(name), export=name in EXPORTED_HERE)


class Good(camport.Explainer):
    """The smallest that conforms; the broken ones below differ from it in one thing each."""

    name, title, paper, family, needs_gradients = "good", "Good", "-", "activation", True

    def saliency(self, probe):
        return fuse(
            [(a * g).sum(1) for a, g in zip(probe.activations, probe.gradients, strict=True)]
        )


def caught(cls, rule, match, **options):
    options = {"export": False, **options}
    with pytest.raises(ConformanceError, match=match) as error:
        check_explainer(cls, **options)
    assert error.value.rule == rule, str(error.value)
    assert isinstance(error.value, camport.CamportError)
    assert isinstance(error.value, AssertionError)
    assert str(error.value).startswith(
        f"{getattr(cls, '__name__', type(cls).__name__)} breaks the rule {rule!r}: "
    )
    assert "\n" not in str(error.value).strip()


def test_the_good_one_conforms():
    check_explainer(Good, export=False)
    check_explainer(Good(), export=False)


def test_a_network_can_be_given():
    check_explainer(
        Good,
        model=seeded(GapNet()),
        layer="features.2",
        images=torch.randn(3, 3, 20, 16),
        export=False,
    )
    check_explainer(Good, model=seeded(GapNet()).float(), export=False)


def test_the_users_network_stays_as_it_is():
    model = seeded(GapNet()).train()
    check_explainer(Good, model=model, images=torch.randn(3, 3, 20, 16).double(), export=False)
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_the_kit_leaves_the_random_states():
    # Python's own is left out: the run-time type checker of these tests draws from it
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    check_explainer(Good, export=False)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


@pytest.mark.parametrize(
    ("trait", "value", "match"),
    [
        ("name", "", "name is ''"),
        ("name", "Grad CAM", "name 'Grad CAM' is not made of"),
        ("title", None, "title is None"),
        ("paper", 1610, "paper is 1610"),
        ("family", "magic", "family is 'magic'; it is one of activation"),
        ("needs_gradients", 1, "needs_gradients is 1; declare True or False"),
        ("needs_layer", "yes", "needs_layer is 'yes'"),
        ("exportable", None, "exportable is None"),
        ("exportable", False, "say why in not_exportable_because"),
        (
            "not_exportable_because",
            "too hard",
            "exportable is True, but not_exportable_because says 'too hard'",
        ),
    ],
)
def test_traits(trait, value, match):
    caught(type("Odd", (Good,), {trait: value}), "traits", match)


def test_no_explainer():
    caught(dict, "traits", "no subclass of camport.Explainer")

    class Unfinished(camport.Explainer):
        name, title, paper, family, needs_gradients = "u", "U", "-", "activation", False

    caught(Unfinished, "traits", "abstract: it does not implement saliency")


def test_missing_traits():
    class Traitless(camport.Explainer):
        name = "t"

        def saliency(self, probe):
            return probe.activations[0].mean(1)

    caught(Traitless, "traits", "title is None; declare it on the class")


def test_options():
    @dataclass
    class Thawed(Good):
        power: int = 2

    caught(Thawed, "options", "not frozen")

    class Handmade(Good):
        def __init__(self, power=2):
            self.power = power

    caught(Handmade, "options", "an instance holds power; make the class a frozen dataclass")

    @dataclass(frozen=True)
    class Needy(Good):
        power: int

    caught(Needy, "options", r"Needy\(\) failed.*power.*give every option a default")
    check_explainer(Needy(3), export=False)

    @dataclass(frozen=True, eq=False)
    class Unequal(Good):
        power: int = 2

    caught(Unequal, "options", "equal options are not equal")

    @dataclass(frozen=True)
    class Unwritable(Good):
        weights: object = frozenset({1})

    caught(Unwritable, "options", "cannot be written as JSON")


def test_state_kept_on_the_instance():
    class Remembering(Good):
        def saliency(self, probe):
            raw = super().saliency(probe)
            self.last = raw
            return raw

    caught(Remembering, "options", "an instance holds last")


class NoGradients(Good):
    needs_gradients: ClassVar[bool] = False


class NeedlessGradients(Good):
    def saliency(self, probe):
        return fuse([a.mean(1) for a in probe.activations])


class NeedlessLayer(Good):
    def saliency(self, probe):
        return probe.input_gradient().abs().amax(1)


@pytest.mark.parametrize(
    ("cls", "match"),
    [
        (
            NoGradients,
            "gradients were read, but the method's class declares needs_gradients = False",
        ),
        (NeedlessGradients, "declares needs_gradients = True, but its saliency did not use them"),
        (NeedlessLayer, "declares needs_layer = True, but its saliency did not use them"),
    ],
)
def test_traits_are_true(cls, match):
    caught(cls, "true_traits", match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda raw: raw[:, None],
            r"saliency returned \(3, 1, 7, 9\); wanted \[b,h,w\] with b = 3",
        ),
        (lambda raw: raw.mean(0), r"saliency returned \(7, 9\); wanted"),
        (lambda raw: raw[:1], r"saliency returned \(1, 7, 9\)"),
        (lambda raw: raw.numpy(), "saliency returned ndarray, not a tensor"),
        (lambda raw: (raw * 100).long(), "saliency returned int64; a map is floating point"),
        (lambda raw: raw / (raw > 0), "values of the raw map are NaN or infinite"),
    ],
)
def test_the_raw_map(change, match):
    class Misshapen(Good):
        def saliency(self, probe):
            return change(super().saliency(probe))

    caught(Misshapen, "raw_map", match)


def test_flat_maps():
    class Flat(Good):
        def saliency(self, probe):
            return super().saliency(probe) * 0

    caught(Flat, "heatmap", "the maps of all 3 images are flat")


def test_random_maps():
    class Random(Good):
        def saliency(self, probe):
            raw = super().saliency(probe)
            return raw * torch.rand_like(raw)

    caught(
        Random, "deterministic", "two runs on the same images differ by .* a generator with a seed"
    )


def test_maps_that_depend_on_what_ran_before():
    class Averaging(Good):
        seen: ClassVar[list] = []

        def saliency(self, probe):
            raw = super().saliency(probe)
            self.seen.append(raw.mean())
            return raw + sum(self.seen)

    caught(Averaging, "deterministic", "keep no state")


def test_maps_that_depend_on_the_batch():
    class Mixed(Good):
        def saliency(self, probe):
            raw = super().saliency(probe)
            return raw / raw.std()

    caught(
        Mixed,
        "independent_of_batch",
        "has another map in a batch of 3 .* never over the first axis",
    )


def test_only_the_first_target():
    class FirstTarget(Good):
        """As peers do: y of the first image's class for every image."""

        needs_layer: ClassVar[bool] = False

        def saliency(self, probe):
            given = {k: v[:1].expand(v.shape[0]) for k, v in probe.target.items()}
            with torch.enable_grad():
                leaf = probe.images.clone().requires_grad_()
                y = probe.adapter.score(probe.double(leaf), given)
                probe.used.add("gradients")
                return torch.autograd.grad(y.sum(), leaf)[0].abs().amax(1)

    caught(FirstTarget, "independent_of_batch", "image 1 has another map|image 2 has another map")


@pytest.mark.parametrize("what", ["activations", "gradients", "images"])
def test_writing_into_the_probe(what):
    class InPlace(Good):
        def saliency(self, probe):
            raw = super().saliency(probe)
            (probe.images if what == "images" else getattr(probe, what)[0]).mul_(2)
            return raw

    if what == "images":  # they may be the user's own
        caught(InPlace, "model_untouched", "the version of images")
    else:
        caught(InPlace, "out_of_place", f"saliency changed {what} of its probe")


def written(probe):
    next(iter(probe.double.parameters())).mul_(1.0)


def numpy_random(probe):
    np.random.rand()  # noqa: NPY002


def threads(probe):
    torch.set_num_threads(3 - torch.get_num_threads())


@pytest.mark.parametrize(
    ("touch", "rule", "match"),
    [
        (
            written,
            "true_traits",
            r"the weights changed while they were read, .* or by the method itself",
        ),
        (numpy_random, "model_untouched", "NumPy's random state"),
        (threads, "model_untouched", "the number of threads"),
    ],
)
def test_a_model_that_is_touched(touch, rule, match):
    class Touching(Good):
        def saliency(self, probe):
            raw = super().saliency(probe)
            touch(probe)
            return raw

    before = torch.get_num_threads()
    try:
        caught(Touching, rule, match)
    finally:
        torch.set_num_threads(before)


def test_a_hook_on_the_double_stays_there():
    class Hooking(Good):
        def saliency(self, probe):
            probe.double.head.register_forward_pre_hook(lambda *_: None)
            return super().saliency(probe)

    network = networks()[0]
    before = fingerprint(network.model)
    camport.explain(network.model, network.images, Hooking(), 0, network.layer)
    assert not list(changes(before, fingerprint(network.model)))


def test_needing_trainable_parameters():
    class Needing(Case):
        """Explains as peers do, who let autograd record from the parameters on."""

        def explain(self, *args, model=None, **kwargs):
            if model is not None and not any(p.requires_grad for p in model.parameters()):
                raise RuntimeError("element 0 of tensors does not require grad")
            return super().explain(*args, model=model, **kwargs)

    network = networks()[0]
    case = Needing(
        Judge("Peer"), Good(), camport.core.registry.adapter("classification")(), network, 1
    )
    with pytest.raises(
        ConformanceError, match=r"where parameters are frozen .*RuntimeError: element 0"
    ):
        frozen_parameters(case)


def test_not_seeing_the_layer_before_an_in_place_relu():
    class Hooking(Good):
        """As peers do: keeps the tensor a hook saw, which the ReLU behind it overwrites."""

        def saliency(self, probe):
            super().saliency(probe)
            seen = []
            handle = hook(probe.double.features, lambda m, a, out: seen.append(out))
            with torch.no_grad():
                probe.double(probe.images)
            handle.remove()
            return seen[0].sum(1)

    caught(
        Hooking,
        "in_place_relu",
        "where the ReLUs behind the layer work in place the map is another one",
    )


def test_a_failure_on_in_place_relus():
    class Refusing(Good):
        def saliency(self, probe):
            if any(getattr(m, "inplace", False) for m in probe.double.modules()):
                raise RuntimeError("modified by an inplace operation")
            return super().saliency(probe)

    caught(Refusing, "in_place_relu", "RuntimeError: modified by an inplace operation")


def test_ignoring_all_but_the_first_layer():
    class First(Good):
        def saliency(self, probe):
            return (probe.activations[0] * probe.gradients[0]).sum(1)

    caught(First, "several_layers", "of several layers all but the first are ignored; fuse maps")


def test_falling_over_several_layers():
    class Stacking(Good):
        def saliency(self, probe):
            return torch.stack(
                [(a * g).sum(1) for a, g in zip(probe.activations, probe.gradients, strict=True)]
            ).sum(0)

    caught(
        Stacking,
        "several_layers",
        "layers 'features' and 'features.0' end in RuntimeError.*fuse maps",
    )


def test_refusing_several_layers_is_right():
    class One(Good):
        def saliency(self, probe):
            return (probe.activations[0] * probe.gradients[0]).sum(1)

        def check(self, probe):
            if len(probe.layers) != 1:
                raise camport.errors.MethodError("one layer")

    check_explainer(One, export=False)


def test_a_map_that_needs_check_to_have_run():
    class Prepared(Good):
        checked: ClassVar[set] = set()

        def check(self, probe):
            self.checked.add(probe)

        def saliency(self, probe):
            raw = super().saliency(probe)
            return raw if probe in self.checked else -raw

    caught(Prepared, "pure_function", "heatmap is another one where check\\(\\) did not run before")


def test_no_network_fits():
    class Choosy(Good):
        def check(self, probe):
            raise camport.errors.MethodError("only for my own network")

    caught(
        Choosy,
        "fits a network",
        "MethodError: only for my own network; .*another network can be given as model=",
    )


def test_a_plain_failure_names_the_rule():
    class Failing(Good):
        def saliency(self, probe):
            raise ZeroDivisionError("oops")

    caught(Failing, "fits a network", "ZeroDivisionError: oops")


class Branching(Good):
    def saliency(self, probe):
        raw = super().saliency(probe)
        return raw if raw.max().item() > 0 else -raw


class ThroughNumpy(Good):
    def saliency(self, probe):
        raw = super().saliency(probe)
        return torch.from_numpy(np.maximum(raw.numpy(), 0))


class BakedBatch(Good):
    def saliency(self, probe):
        raw = super().saliency(probe)
        return raw * torch.ones(int(raw.shape[0]), 1, 1).to(raw) + raw.shape[0] - len(raw.tolist())


@pytest.mark.parametrize("cls", [Branching, ThroughNumpy, BakedBatch])
def test_what_cannot_be_traced(cls):
    caught(
        cls,
        "onnx_file",
        "Error: .*declare exportable = False and not_exportable_because",
        export=True,
    )


def test_what_is_not_exportable_and_says_so():
    class Honest(Branching):
        exportable: ClassVar[bool] = False
        not_exportable_because: ClassVar[str] = "it branches on values"

    check_explainer(Honest, export=True)


def test_every_rule_says_what_it_is():
    assert all(rule.__doc__ and rule.__doc__.strip() for rule in RULES)
