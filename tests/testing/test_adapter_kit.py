"""The kit lets every registered adapter pass, and catches one broken adapter a rule."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import camport
from camport.adapters import ClassificationAdapter
from camport.adapters.classification.adapter import SCORES
from camport.core import registry
from camport.errors import InputError
from camport.testing import ConformanceError, check_adapter
from camport.testing.adapters import RULES
from tests.adapters.detectors import ClassicHead, Detector, awake, photographs
from tests.marks import rare
from tests.nets import Net, images, seeded

ASKED = {
    "vqa": {"question": [1, 2, 3]},
    "vqa-words": {"question": [1, 2, 3]},
    "detection": {"boxes": [[4.0, 4, 40, 40]] * 3},
}
"""Targets for adapters that have no default."""


NETWORKS = {
    "detection": lambda: {
        "model": awake(Detector(ClassicHead())).float(),
        "images": photographs(3).float(),
    }
}
"""Networks for adapters that none of the kit's own fits."""


@pytest.mark.filterwarnings("ignore::camport.errors.DoubtWarning")  # random boxes match badly
@pytest.mark.parametrize("export", [False, *rare(True)])
@pytest.mark.parametrize("name", sorted(camport.adapters()))
def test_every_registered_adapter_conforms(name, export):
    own = NETWORKS[name]() if name in NETWORKS else {}
    check_adapter(registry.adapter(name), target=ASKED.get(name), export=export, **own)


@pytest.mark.parametrize("score_as", SCORES)
def test_every_score_of_the_classification_adapter(score_as):
    given = {"model": seeded(Net(classes=1)), "images": images()} if score_as == "binary" else {}
    check_adapter(
        ClassificationAdapter(score_as=score_as),
        nonsense=["tabby", [0.5, None]],
        export=False,
        **given,
    )


def test_a_target_and_outputs_of_another_kind():
    class Wrapped(Net):
        def forward(self, x):
            return {"logits": super().forward(x), "aux": None}

    model = seeded(Wrapped())
    check_adapter(
        ClassificationAdapter,
        model=model,
        images=images(),
        target=torch.tensor([1, -1, 4]),
        export=False,
    )


class Pixel(camport.Adapter):
    """The mean logit of one class over all pixels;
    the broken ones below differ from it in one thing each."""

    name, title = "pixel", "One class of a segmentation"
    inputs = ("target",)

    def prepare(self, target, images):
        if not isinstance(target, int | torch.Tensor | None):
            raise InputError(f"target {target!r} is no class")
        classes = torch.as_tensor(0 if target is None else target)
        if (
            classes.dim() > 1
            or classes.is_floating_point()
            or (classes.dim() and len(classes) != len(images))
        ):
            raise InputError(f"target {target!r} is no class an image")
        return {"target": classes.expand(len(images)).clone()}

    def check(self, outputs, target):
        if outputs.dim() != 4:
            raise camport.errors.ModelError("no rows of pixels")

    def resolve(self, outputs, target):
        return dict(target)

    def score(self, outputs, target):
        return outputs.mean((2, 3)).gather(1, target["target"][:, None])[:, 0]

    def explained(self, target):
        return target["target"]

    def sample(self, outputs, batch, generator):
        return {"target": torch.randint(outputs.shape[1], (batch,), generator=generator)}


def caught(cls, rule, match, **options):
    with pytest.raises(ConformanceError, match=match) as error:
        check_adapter(cls, **{"export": False, **options})
    assert error.value.rule == rule, str(error.value)


def test_the_good_one_conforms():
    check_adapter(Pixel, export=False)


@pytest.mark.parametrize(("trait", "value"), [("name", "two words"), ("title", "")])
def test_traits(trait, value):
    caught(type("Odd", (Pixel,), {trait: value}), "traits", trait)


def test_no_adapter():
    caught(dict, "traits", "no subclass of camport.Adapter")

    class Unfinished(camport.Adapter):
        name, title = "u", "U"

    caught(
        Unfinished,
        "traits",
        "does not implement check, explained, inputs, prepare, resolve, sample, score; or declare",
    )


def test_options():
    @dataclass
    class Thawed(Pixel):
        power: int = 2

    caught(Thawed, "options", "not frozen")

    class Needy(Pixel):
        def __init__(self, power):
            pass

    caught(Needy, "options", r"Needy\(\) failed")


@pytest.mark.parametrize(
    "inputs", [["target"], ("target", "target"), ("images",), ("score", "target"), ("a b",)]
)
def test_inputs(inputs):
    caught(type("Odd", (Pixel,), {"inputs": inputs}), "inputs", "inputs ")


def variant(**methods):
    return type("Broken", (Pixel,), methods)


NONE = torch.zeros(3, dtype=torch.int64)
BROKEN = {
    "another name": (
        {"prepare": lambda s, t, x: {"class": NONE}},
        "prepare",
        r"prepare gives \('class',\); wanted",
    ),
    "no batch": (
        {"prepare": lambda s, t, x: {"target": NONE[0]}},
        "prepare",
        "wanted a row an image, b = 3",
    ),
    "takes anything": (
        {"prepare": lambda s, t, x: {"target": NONE}},
        "refuses_nonsense",
        "prepare took <object",
    ),
    "falls over": (
        {
            "prepare": lambda s, t, x: {
                "target": torch.zeros(len(x)).long() + (0 if t is None else t)
            }
        },
        "refuses_nonsense",
        "raised TypeError.*raise camport.errors.InputError",
    ),
    "global random": (
        {"sample": lambda s, o, b, g: {"target": torch.randint(1000, (b,)) % 5}},
        "sample",
        "two targets for one generator state",
    ),
    "batch of the outputs": (
        {"sample": lambda s, o, b, g: {"target": torch.zeros(len(o), dtype=torch.int64)}},
        "sample",
        "sample gives target of shape",
    ),
    "drops": (
        {"resolve": lambda s, o, t: {"other": t["target"]}},
        "resolve",
        "resolve dropped target",
    ),
    "one row": (
        {"resolve": lambda s, o, t: {**t, "k": t["target"][:1]}},
        "resolve",
        "gives k without a row an image",
    ),
    "explained": ({"explained": lambda s, t: "tabby"}, "resolve", "explained gives 'tabby'"),
    "shape": (
        {"score": lambda s, o, t: o.mean((2, 3))},
        "score",
        r"score returned \(3, 5\); wanted \[b\]",
    ),
    "NaN": ({"score": lambda s, o, t: o.mean((1, 2, 3)) / 0}, "score", "not finite"),
    "detached": (
        {"score": lambda s, o, t: o.detach().mean((1, 2, 3))},
        "score",
        "not differentiable",
    ),
    "argmax": ({"score": lambda s, o, t: o.mean((1, 2, 3)) * 0 + 1}, "score", "outputs is zero"),
    "root": (
        {"score": lambda s, o, t: (o * 0).abs().sum((1, 2, 3)).sqrt()},
        "score",
        "is not finite",
    ),
    "mixed": (
        {"score": lambda s, o, t: o.mean((1, 2, 3)) + o.mean()},
        "independent_of_batch",
        "image 0 scores",
    ),
    "writes": (
        {"check": lambda s, o, t: o.mul_(2) if o.dim() == 4 else o.sum(3)},
        "pure",
        "the version of output 0",
    ),
    "no map": (
        {"grid": lambda s, *a: None},
        "explains",
        r"\.grid returned None for layer .*; wanted a Grid",
    ),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_broken(case):
    methods, rule, match = BROKEN[case]
    caught(variant(**methods), rule, match, model=Pixels(), images=images())


class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 1)
        seeded(self)

    def forward(self, x):
        return self.head(self.features(x))


class Joint(camport.Adapter):
    """The peak of one map, refused where there is no such map."""

    name, title = "joint", "The peak of one map"
    fields = (camport.Field("joint", "integer", default=0, least=0),)

    def check(self, outputs, target):
        if outputs.dim() != 4:
            raise camport.errors.ModelError("no maps")
        if int(target["joint"].max()) >= outputs.shape[1]:
            raise InputError(f"joint {int(target['joint'].max())} of {outputs.shape[1]}")

    def score(self, outputs, target):
        peaks = outputs.flatten(2).amax(2)
        return (peaks * (torch.arange(peaks.shape[1]) == target["joint"][:, None])).sum(1)


def test_what_is_far_out_of_range_is_refused():
    """By `check` in its own words, and by nothing that merely raises or scores nothing."""
    network = {"model": Pixels(), "images": images()}
    check_adapter(Joint, export=False, **network)

    def misspelt(self, outputs, target):
        if int(target["joint"].max()) >= outputs.shape[1]:
            raise camport.errors.InputErorr("no such joint")

    def gathered(self, outputs, target):
        return outputs.flatten(2).amax(2).gather(1, target["joint"][:, None])[:, 0]

    unchecked = {"check": lambda s, o, t: None}
    for methods, match in (
        ({"check": misspelt}, "check raised AttributeError for joint=1000000.*InputError"),
        (unchecked, r"joint=1000000 pass, whose score \[0.0, .*hangs on nothing; refuse it"),
        ({**unchecked, "score": gathered}, "joint=1000000 pass, and score raised .*Error; refuse"),
    ):
        caught(type("Broken", (Joint,), methods), "out_of_range", match, **network)


def test_training_mode_switched_on():
    def call(self, model, x):
        return model.train()(x)

    caught(variant(call=call), "pure", "the mode of")


def test_what_cannot_be_traced():
    def score(self, outputs, target):
        return outputs.mean((2, 3))[range(len(target["target"])), target["target"].tolist()]

    caught(variant(score=score), "onnx_file", "Error", export=True)


def test_no_network_fits():
    def check(self, outputs, target):
        raise camport.errors.ModelError("nothing I read")

    caught(variant(check=check), "fits a network", "nothing I read.*can be given as model=")


def test_every_rule_says_what_it_is():
    assert all(rule.__doc__ and rule.__doc__.strip() for rule in RULES)
