"""A double reaches every module that Python can follow, and nothing of the user's is written,
whatever is explained."""

import copy
import dataclasses
import functools
import gc
import random
import threading
import types
import weakref
from array import array
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import camport
from camport.core.isolation.module_classes import eager
from camport.core.isolation.private_copy import double_of
from camport.errors import DoubtWarning, LayerError, ModelError
from camport.testing.fingerprint import changes, fingerprint

PAIR = namedtuple("PAIR", "first second")


class Plain(nn.Module):
    """What every network here computes."""

    def __init__(self):
        super().__init__()
        conv, behind = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)
        self.features = nn.Sequential(
            conv, nn.BatchNorm2d(6), nn.ReLU(), behind, nn.BatchNorm2d(8), nn.Tanh()
        )
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(8, 4)

    def head(self, maps):
        return self.fc(self.drop(maps.mean((2, 3))))

    def forward(self, x):
        return self.head(self.features(x))


def seeded(kind=Plain):
    """In training mode, in which batch normalisation writes and dropout draws."""
    torch.manual_seed(0)
    net = kind().double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return net.train()


IMAGES = torch.randn(2, 3, 20, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def gradcam(net, layer, images=IMAGES, target=1):
    """By hand: relu(sum_k mean(G_k) A_k), of a plain network in evaluation mode."""
    net, kept = net.eval(), []
    handle = net.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o))
    y = net(images)[:, target].sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(y, kept[-1])
    return (gradient.mean((2, 3), keepdim=True) * kept[-1]).sum(1).clamp(min=0).detach()


@dataclasses.dataclass
class Parts:
    """A data class that holds modules."""

    stages: list
    name: str = "parts"


class Holder:
    """A plain object with slots."""

    __slots__ = ("__weakref__", "part")

    def __init__(self, part):
        self.part = part


class Lambda(Plain):
    """Reached through a lambda over self."""

    def __init__(self):
        super().__init__()
        self.run = lambda x: self.features(x)

    def forward(self, x):
        return self.head(self.run(x))


class Closure(Plain):
    """Reached through functions within functions, one of which calls itself."""

    def __init__(self):
        super().__init__()
        features = self.features

        def run(x, i=0):
            return x if i == len(features) else run(features[i](x), i + 1)

        self.run = run

    def forward(self, x):
        return self.head(self.run(x))


class Ordered(Plain):
    """Reached through an OrderedDict."""

    def __init__(self):
        super().__init__()
        self.stages = OrderedDict(a=self.features)

    def forward(self, x):
        return self.head(self.stages["a"](x))


class Deep(Plain):
    """An object's attribute in a dictionary in a list in a deque in a tuple."""

    def __init__(self):
        super().__init__()
        self.held = (deque([[{"here": types.SimpleNamespace(at=Holder(self.features))}]]), 3)

    def forward(self, x):
        return self.head(self.held[0][0][0]["here"].at.part(x))


class Data(Plain):
    """Reached through a data class, a named tuple, a defaultdict and a set."""

    def __init__(self):
        super().__init__()
        self.parts, self.pair = (
            Parts(list(self.features[:2])),
            PAIR(self.features[2], self.features[3]),
        )
        self.more, self.last = defaultdict(list, {0: [self.features[4]]}), {self.features[5]}

    def forward(self, x):
        for part in (*self.parts.stages, *self.pair, *self.more[0], *self.last):
            x = part(x)
        return self.head(x)


class Weak(Plain):
    """Reached through a weak reference, and a key of a dictionary."""

    def __init__(self):
        super().__init__()
        self.reference, self.scales = weakref.ref(self.features), {self.features: 1.0}

    def forward(self, x):
        features = self.reference()
        return self.head(features(x) * self.scales[features])


class Partial(Plain):
    """Reached through the arguments of a partial function, and a partial method."""

    def __init__(self):
        super().__init__()
        self.run = functools.partial(
            lambda layers, x, *, then: then(layers(x)), self.features, then=self.drop
        )

    def _ending(self, x, scale):
        return self.fc(x * scale)

    ending = functools.partialmethod(_ending, scale=1.0)

    def forward(self, x):
        return self.ending(self.run(x).mean((2, 3)))


class Default(Plain):
    """Reached through a default argument."""

    def __init__(self):
        super().__init__()

        def run(x, layers=self.features, *, drop=self.drop):
            return drop(layers(x))

        self.run = run

    def forward(self, x):
        return self.fc(self.run(x).mean((2, 3)))


class OwnForward(Plain):
    """forward is a closure, as attention wrappers make it."""

    def __init__(self):
        super().__init__()
        inner = self.forward

        @functools.wraps(inner)
        def forward(x):
            return inner(x * 1.0)

        self.forward = forward


class BoundForward(Plain):
    """forward is a function bound to the module."""

    def __init__(self):
        super().__init__()
        self.forward = types.MethodType(lambda net, x: net.head(net.features(x)), self)


class Listed(Plain):
    """Reached through a bound method of a built-in kind, and an object that is called."""

    class Caller:
        def __init__(self, net):
            self.net = net

        def __call__(self, x):
            return self.net.features(x)

    def __init__(self):
        super().__init__()
        stages = {"a": self.features}
        self.stage, self.caller = stages.get, Listed.Caller(self)

    def forward(self, x):
        assert self.stage("a") is self.features
        return self.head(self.caller(x))


class CompiledPart(Plain):
    """A part that torch.compile made."""

    def __init__(self):
        super().__init__()
        self.features = torch.compile(self.features, backend="eager")


class CompiledInPlace(Plain):
    """Compiled in place, part and whole."""

    def __init__(self):
        super().__init__()
        self.features.compile(backend="eager")
        self.compile(backend="eager")


class CompiledMethod(Plain):
    """Compiled methods of the instance and of the class."""

    def __init__(self):
        super().__init__()
        self.run = torch.compile(self._run, backend="eager")

    def _run(self, x):
        return self.features(x)

    @torch.compile(backend="eager")
    def ending(self, maps):
        return self.head(maps)

    def forward(self, x):
        return self.ending(self.run(x))


class OwnHook(Plain):
    """forward reads what the module's own hook kept."""

    def __init__(self):
        super().__init__()
        self.features.register_forward_hook(self.keep)

    def keep(self, module, args, output):
        self.kept = output

    def forward(self, x):
        self.features(x)
        return self.head(self.kept)


class ClosureHook(Plain):
    """A hook that is a closure over a dictionary, given the keyword arguments too,
    and one that keeps inputs."""

    def __init__(self):
        super().__init__()
        self.kept = {}
        self.features.register_forward_hook(
            lambda module, args, kwargs, output: self.kept.update(maps=output), with_kwargs=True
        )
        self.features[3].register_forward_pre_hook(
            lambda module, args: self.kept.update(inner=args[0])
        )

    def forward(self, x):
        self.features(x)
        return self.head(self.features[3:](self.kept["inner"]) * 0 + self.kept["maps"])


class Recorder:
    """Another object whose method is a hook, and which refers back to the network."""

    def __init__(self, net):
        self.net, self.seen = net, []
        net.features.register_forward_hook(self.note)

    def note(self, module, args, output):
        self.seen.append(output)
        self.net.last = self.seen[-1]


class RecorderHook(Plain):
    """A recorder's network."""

    def __init__(self):
        super().__init__()
        self.recorder = Recorder(self)

    def forward(self, x):
        self.features(x)
        return self.head(self.last)


NETS = [
    Lambda, Closure, Ordered, Deep, Data, Weak, Partial, Default, OwnForward, BoundForward, Listed,
    CompiledPart, CompiledInPlace, CompiledMethod, OwnHook, ClosureHook, RecorderHook,
]  # fmt: skip


@pytest.mark.parametrize("method", ["gradcam", "scorecam", "saliency"])
@pytest.mark.parametrize("kind", NETS, ids=lambda kind: kind.__name__)
def test_what_python_can_follow_is_explained_rightly_and_left(kind, method):
    net = seeded(kind)
    plain = seeded().eval()
    if kind is OwnHook:  # of an earlier image
        net(IMAGES.flip(0) + 1)
        net.features[1].load_state_dict(plain.features[1].state_dict())
        net.features[4].load_state_dict(plain.features[4].state_dict())
    before, kept = fingerprint(net, images=IMAGES), getattr(net, "kept", None)
    last = "features.5" if kind in (Closure, Data) else "features"
    layer = last if method != "saliency" else None
    raw = camport.explain(net, IMAGES, method, 1, layer).raw
    assert not list(changes(before, fingerprint(net, images=IMAGES)))
    assert getattr(net, "kept", None) is kept
    wanted = (
        gradcam(plain, "features")
        if method == "gradcam"
        else camport.explain(plain, IMAGES, method, 1, layer).raw
    )
    torch.testing.assert_close(raw, wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated")
def test_scripts_in_training_are_explained_in_evaluation():
    net = seeded()
    net.features = torch.jit.script(net.features)
    before = fingerprint(net)
    raw = camport.explain(net, IMAGES, "saliency", 1).raw
    assert not list(changes(before, fingerprint(net)))
    torch.testing.assert_close(raw, camport.explain(seeded().eval(), IMAGES, "saliency", 1).raw)


def test_a_module_that_is_no_submodule_keeps_its_mode():
    net, copied = seeded(), seeded()
    hidden = (net.features[1], copied.features[1])
    for owner, part in zip((net, copied), hidden, strict=True):
        owner.hidden = [part]  # as people keep a module from being registered
        owner.features[1] = nn.Identity()
        owner.features[0].register_forward_hook(
            functools.partial(lambda held, m, i, o: held[0](o), owner.hidden)
        )
    before = {key: value.clone() for key, value in hidden[0].state_dict().items()}
    # by the statistics of training
    with pytest.warns(DoubtWarning, match="Plain mixes the images of a batch"):
        raw = camport.explain(net, IMAGES, "gradcam", 1, "features").raw
    assert all(torch.equal(value, before[key]) for key, value in hidden[0].state_dict().items())
    assert hidden[0].training
    alone = [gradcam(copied, "features", images=image[None]) for image in IMAGES]
    torch.testing.assert_close(raw, torch.cat(alone))


REACHED = {}


class Global(Plain):
    """Reached through a global variable, and whatever goes wrong is caught."""

    def forward(self, x):
        try:
            return self.head(REACHED["features"](x))
        except Exception:
            return self.head(self.features(x))


@pytest.mark.parametrize("method", ["gradcam", "saliency", "rise"])
def test_what_cannot_be_followed_is_stopped_before_it_runs(method):
    net = seeded(Global)
    REACHED["features"] = net.features
    before = fingerprint(net)
    with pytest.raises(
        ModelError, match=r"Global .* called the user's own 'features' \(Sequential\)"
    ):
        camport.explain(net, IMAGES, method, 1)
    assert not list(changes(before, fingerprint(net)))
    assert not torch.nn.modules.module._global_forward_pre_hooks


def test_the_guard_lets_the_users_model_run_in_other_threads():
    net, ran, stop = seeded().eval(), [], threading.Event()
    bound, expected = camport.bind(net, "gradcam", layer="features"), seeded().eval()(IMAGES)

    def run():
        while not stop.is_set():
            ran.append(torch.equal(net(IMAGES), expected))

    thread = threading.Thread(target=run)
    thread.start()
    for _ in range(20):
        bound(IMAGES, 1)
    stop.set()
    thread.join()
    assert ran
    assert all(ran)


@pytest.mark.parametrize("change", ["puts out another", "writes into it"])
def test_a_layer_is_what_its_hooks_make_of_it(change):
    def hooked():
        net = seeded().eval()
        net.features.register_forward_hook(
            lambda m, i, o: o.clamp(max=0.2) if change[0] == "p" else twice(o)
        )
        return net

    def twice(output):
        output.mul_(-0.7)

    torch.testing.assert_close(
        camport.explain(hooked(), IMAGES, "gradcam", 1, "features").raw,
        gradcam(hooked(), "features"),
    )


class Frozen(Plain):
    """The features are computed without gradients, as people freeze them."""

    def forward(self, x):
        with torch.no_grad():
            maps = self.features(x)
        return self.head(maps)


class Inferred(Plain):
    """The same by a decorator and inference mode, of another module."""

    class Backbone(nn.Sequential):
        @torch.inference_mode()
        def forward(self, x):
            return super().forward(x)

    def __init__(self):
        super().__init__()
        self.features = Inferred.Backbone(*self.features)

    def forward(self, x):
        return self.head(self.features(x))


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (Frozen, r"torch\.no_grad\(\) in Frozen\.forward"),
        (Inferred, r"torch\.inference_mode\(\) in Backbone\.forward"),
    ],
)
def test_a_layer_at_the_end_of_what_runs_without_gradients(kind, where):
    found = camport.explain(seeded(kind), IMAGES, "gradcam", 1, "features").raw
    torch.testing.assert_close(found, gradcam(seeded(), "features"))
    for method in ("gradcam", "hirescam"):  # one reads the gradient for its map, one before it
        with pytest.raises(LayerError, match=rf"layer 'features\.2' runs under {where}"):
            camport.explain(seeded(kind), IMAGES, method, 1, "features.2")
    with pytest.raises(LayerError, match=where):
        camport.explain(seeded(kind), IMAGES, "saliency", 1)


def checkpointed(reentrant):
    class Checkpointed(Plain):
        """A checkpointed part."""

        def forward(self, x):
            return self.head(checkpoint(self.features, x, use_reentrant=reentrant))

    return Checkpointed


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("layer", ["features.3", "features"])
def test_checkpoints_are_passed_over(reentrant, layer):
    found = camport.explain(seeded(checkpointed(reentrant)), IMAGES, "gradcam", 1, layer).raw
    torch.testing.assert_close(found, gradcam(seeded(), layer))
    saliency = camport.explain(seeded(checkpointed(reentrant)), IMAGES, "saliency", 1).raw
    torch.testing.assert_close(saliency, camport.explain(seeded(), IMAGES, "saliency", 1).raw)
    assert "apply" not in vars(torch.utils.checkpoint.CheckpointFunction)


def test_checkpoints_of_other_threads_are_left():
    net, entered, leave, saved = (
        seeded(checkpointed(False)).eval(),
        threading.Event(),
        threading.Event(),
        [],
    )

    class Waiting(Plain):
        def forward(self, x):
            entered.set()
            leave.wait(20)
            return super().forward(x)

    thread = threading.Thread(
        target=lambda: camport.explain(seeded(Waiting), IMAGES, "gradcam", 1, "features")
    )
    thread.start()
    entered.wait(20)
    net.features[0].register_forward_hook(lambda m, i, o: saved.append(1))
    net(IMAGES).sum().backward()
    leave.set()
    thread.join()
    assert len(saved) == 2  # once forwards, once again backwards


class Own:
    """A counter that is nobody's but the network's."""

    def __init__(self):
        self.n, self.log = 0, []


def _seen(value):
    if isinstance(value, torch.Generator):
        return value.get_state().tolist()
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return str(value.bit_generator.state)
    return (value.n, list(value.log)) if isinstance(value, Own) else repr(value)


WRITES = {
    "an empty list": (list, lambda v, x: v.append(x)),
    "an empty dictionary": (dict, lambda v, x: v.update(x=x)),
    "a list of numbers": (lambda: [1, 2], lambda v, x: v.append(3)),
    "a set": (set, lambda v, x: v.add(len(v))),
    "a deque": (lambda: deque(maxlen=2), lambda v, x: v.append(x)),
    "a defaultdict": (lambda: defaultdict(list), lambda v, x: v["x"].append(x)),
    "an OrderedDict": (OrderedDict, lambda v, x: v.update(x=x)),
    "a Counter": (Counter, lambda v, x: v.update("ab")),
    "an own object": (Own, lambda v, x: (setattr(v, "n", v.n + 1), v.log.append(x))),
    "a deep list": (lambda: [[[[[[]]]]]], lambda v, x: v[0][0][0][0][0].append(x)),
    "a bytearray": (lambda: bytearray(b"a"), lambda v, x: v.extend(b"b")),
    "an array of Python's": (lambda: array("d", [0]), lambda v, x: v.append(1)),
    "an array": (lambda: np.zeros(3), lambda v, x: v.__iadd__(1)),
    "a generator of torch's": (torch.Generator, lambda v, x: torch.rand(2, generator=v)),
    "a generator of Python's": (lambda: random.Random(0), lambda v, x: v.random()),
    "a generator of NumPy's": (lambda: np.random.default_rng(0), lambda v, x: v.random()),
    "a partial function's list": (lambda: functools.partial(list.append, []), lambda v, x: v(x)),
}


@pytest.mark.parametrize("what", WRITES)
def test_python_side_state_is_left(what):
    make, write = WRITES[what]

    class Writing(Plain):
        def __init__(self):
            super().__init__()
            self.state = make()
            self.shared = self.state

        def forward(self, x):
            write(self.state, x)
            assert self.shared is self.state
            return super().forward(x)

    net = seeded(Writing)
    state, before = net.state, _seen(net.state)
    assert torch.equal(
        camport.explain(net, IMAGES, "gradcam", 1, "features").raw, gradcam_of_camport()
    )
    assert net.state is state
    assert _seen(net.state) == before


def gradcam_of_camport():
    return camport.explain(seeded().eval(), IMAGES, "gradcam", 1, "features").raw


class WritesTensors(Plain):
    """Parameters through .data and not, a buffer called as a statistic,
    and batch normalisation that trains itself."""

    def __init__(self):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(3))
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x):
        self.fc.weight.data.clamp_(-0.1, 0.1)
        with torch.no_grad():
            self.features[3].weight *= 0.5
        self.frozen.add_(1)
        self.frozen.data = self.frozen * 2
        self.running_mean.mul_(0.5).add_(1)
        self.features[1].train()
        return super().forward(x * self.frozen / 4 + self.running_mean[0] - 1)


@pytest.mark.parametrize("method", ["gradcam", "saliency", "scorecam"])
def test_no_tensor_is_written(method):
    net, before = seeded(WritesTensors), fingerprint(seeded(WritesTensors))
    net.features[4].train()
    layer = None if method == "saliency" else "features"
    for _ in range(3):
        before = fingerprint(net)
        explanation = camport.explain(net, IMAGES, method, 1, layer)
        assert not list(changes(before, fingerprint(net)))
        wanted = copy.deepcopy(net).eval()(IMAGES)[:, 1].detach()
        torch.testing.assert_close(explanation.score, wanted)


def test_a_large_foreign_object_is_searched_for_the_network_and_not_copied():
    class Trainer:
        def __init__(self, net):
            self.samples, self.net = [[i] for i in range(30_000)], net

    class Trained(Plain):
        def forward(self, x):
            seen.append(self.trainer.samples)
            return self.head(self.trainer.net.features(x))

    seen, net = [], seeded(Trained)
    net.trainer = Trainer(net)
    assert torch.equal(
        camport.explain(net, IMAGES, "gradcam", 1, "features").raw, gradcam_of_camport()
    )
    assert seen[0] is net.trainer.samples


def test_classes_that_come_and_go_are_let_go():
    def made():
        class Passing(Plain):
            """Nobody's but this function's."""

        class Norm(nn.BatchNorm2d):
            """A class that is another in a double."""

        net = seeded(Passing).eval()
        net.features[1] = Norm(6).double().eval()
        camport.explain(net, IMAGES, "gradcam", 1, "features")
        return weakref.ref(Passing), weakref.ref(Norm)

    kinds = made()
    gc.collect()
    assert [kind() for kind in kinds] == [None, None]


class CompiledForward(Plain):
    """The class's own forward is compiled, so that hooks would run within compiled code."""

    @torch.compile(backend="eager")
    def forward(self, x):
        return self.head(self.features(x))


class Overriding(CompiledForward):
    """Its own forward, not that of its base."""

    def forward(self, x):
        return self.head(self.features(x)) * 2


def test_methods_of_a_class_are_what_was_compiled():
    assert torch.equal(
        camport.explain(seeded(CompiledForward), IMAGES, "gradcam", 1, "features").raw,
        gradcam_of_camport(),
    )
    twice = camport.explain(seeded(Overriding), IMAGES, "gradcam", 1, "features").raw
    torch.testing.assert_close(twice, 2 * gradcam_of_camport())


def test_a_model_that_reaches_its_parts_through_closures_is_exported(tmp_path):
    from camport.export import to_onnx

    net = seeded(Lambda).float()
    report = to_onnx(
        camport.bind(net, "gradcam", layer="features"), tmp_path / "a.onnx", IMAGES.float()
    )
    assert report.path.exists()


@pytest.mark.filterwarnings("ignore::camport.errors.GuardWarning")
@pytest.mark.parametrize("method", ["ablationcam", "reciprocam"])
def test_what_lies_behind_a_layer_is_run_with_what_its_hooks_made_of_it(method):
    class Written(Plain):
        """The hook's change as a part of forward, and the layer behind it."""

        def __init__(self):
            super().__init__()
            self.end = nn.Identity()

        def forward(self, x):
            return self.head(self.end(self.features(x).clamp(max=0.2) * 1.5))

    net = seeded()
    net.features.register_forward_hook(lambda module, args, output: output.clamp(max=0.2) * 1.5)
    found = camport.explain(net, IMAGES, method, 1, "features").raw
    torch.testing.assert_close(
        found, camport.explain(seeded(Written), IMAGES, method, 1, "end").raw
    )


def test_a_double_is_let_go_at_once():
    net = seeded()
    gc.disable()
    try:
        double = weakref.ref(double_of(net, eager))
        assert double() is None
    finally:
        gc.enable()
