"""The recorder of a forward pass: which run is which, what encloses what,
and that nothing of it stays behind."""

import gc
import weakref

import pytest
import torch
from torch import nn

import camport
from camport.core.isolation.private_copy import double_of
from camport.core.running.layers import LayerName
from camport.core.running.recorder import Outermost, Recorder
from camport.core.running.runs import record
from camport.core.running.tail import Tail


class Refuses(nn.Module):
    def forward(self, x):
        raise ValueError("not these")


class Tries(nn.Module):
    """Runs a part that raises, and goes on without it."""

    def __init__(self):
        super().__init__()
        self.risky = nn.Sequential(nn.Conv2d(2, 2, 1), Refuses())
        self.sure = nn.Conv2d(2, 2, 1)

    def forward(self, x):
        try:
            return self.risky(x)
        except ValueError:
            return self.sure(x)


class Network(nn.Module):
    """Runs a module again that ran within the part that raised."""

    def __init__(self):
        super().__init__()
        self.tries, self.layer, self.head = Tries(), nn.Conv2d(2, 2, 3), nn.Linear(2, 3)

    def forward(self, x):
        x = self.layer(self.tries(x))
        return self.head(self.tries.risky[0](x).square().mean((2, 3)))


def seeded(network):
    torch.manual_seed(3)
    return network().eval()


IMAGES = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def test_runs_enclose_those_within_them_where_a_part_raised():
    double = double_of(seeded(Network))
    runs = record(double, lambda: double(IMAGES))
    expected = [("tries.risky.0", 0, 0), ("tries.sure", 0, 1), ("tries", 0, 0), ("layer", 0, 3)]
    assert [(run.name, run.call, run.start) for run in runs] == [
        *expected,
        ("tries.risky.0", 1, 4),
        ("head", 0, 5),
    ]


def test_a_tail_runs_what_is_behind_the_layer_where_a_part_raised_before_it():
    model = seeded(Network)
    tail = Tail(
        double_of(model), LayerName("layer", 0), lambda double, x, target: double(x), IMAGES, {}
    )
    maps = torch.rand(2, 2, 6, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = model.head(model.tries.risky[0](maps).square().mean((2, 3)))
    assert torch.equal(tail(maps.clone(), 1), expected)


def test_outermost_modules_that_ended():
    double, outermost = double_of(seeded(Network)), Outermost()
    with Recorder(
        double, lambda ran: outermost.end(ran, ran.begun), lambda module, args: outermost.begun()
    ):
        double(IMAGES)
    assert [ended.name for ended in outermost.ended] == ["tries", "layer", "tries.risky.0", "head"]
    assert not any(ended.written for ended in outermost.ended)


def test_what_ended_puts_out_goes_on_and_is_what_the_users_hooks_see():
    model, seen = seeded(Network), []
    model.layer.register_forward_hook(lambda module, args, output: output + 1)
    double = double_of(model)
    with Recorder(
        double,
        lambda ran: ran.output * 0,
        modules=["layer"],
        behind=lambda ran: seen.append(ran.output),
    ):
        outputs = double(IMAGES)
    ones = torch.ones(2, 2, 6, 6)
    assert [tensor.tolist() for tensor in seen] == [ones.tolist()]
    assert torch.equal(outputs, model.head(model.tries.risky[0](ones).square().mean((2, 3))))


def test_hooks_are_removed_where_the_model_raises():
    double = double_of(seeded(Network))
    with (
        pytest.raises(ValueError, match="not these"),
        Recorder(double, lambda ran: None, lambda *_: None, root=True),
    ):
        double.tries.risky(IMAGES)
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in double.modules()
    )


@pytest.mark.parametrize("method", ["gradcam", "ablationcam", "fullgrad"])
def test_what_was_recorded_is_let_go_of_without_a_garbage_collection(method):
    class Kept(nn.Sequential):
        def forward(self, x):
            doubles.append(weakref.ref(self))
            return super().forward(x)

    doubles = []
    model = seeded(
        lambda: Kept(
            nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(48, 3)
        )
    )
    bound = camport.bind(model, method, layer=None if method == "fullgrad" else "2")
    gc.collect()
    gc.disable()
    try:
        bound(IMAGES, 0)
        assert doubles
        assert [double() for double in doubles if double() is not None] == []
    finally:
        gc.enable()
