"""Functions of modules that remember what they gave: nothing of it enters a backward pass,
whatever the task."""

import functools

import pytest
import torch
from torch import nn

import camport
from camport.core.isolation.uncached_modules import forgetful


def through(function):
    """A decorator around a function that remembers, as libraries stack them."""
    remembering = functools.lru_cache(function)

    @functools.wraps(function)
    def run(*args):
        return remembering(*args)

    run.remembering = remembering
    return run


def half_made(function):
    """A decorator with a variable that is not yet there."""

    @functools.wraps(function)
    def run(*args):
        return function(*args) if args else later

    if function is None:
        later = 0
    return run


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    @staticmethod
    @functools.lru_cache
    def ramp(n):
        return torch.linspace(0.5, 1.5, n)

    @functools.lru_cache  # noqa: B019
    def rise(self, n):
        return torch.linspace(1, 2, n)[:, None]

    @through
    def fall(self, n):
        return torch.linspace(2, 1, n)

    @half_made
    def plain(self, n):
        return n

    def forward(self, images):
        x = self.features(images)
        h, w = x.shape[2:]
        return self.head(
            (x * self.ramp(w) * self.rise(h) * self.fall(self.plain(w))).tanh().mean((2, 3))
        )


@pytest.mark.parametrize("method", ["gradcam", "integrated_gradients"])
def test_what_was_remembered_in_inference_mode(method):
    torch.manual_seed(0)
    model, images = Remembering().eval(), torch.rand(1, 3, 9, 12)
    expected = camport.explain(
        model, images, method, layer="features" if method == "gradcam" else None
    )
    with torch.inference_mode():
        model(images)
    assert Remembering.ramp(10).is_inference()
    found = camport.explain(
        model, images, method, layer="features" if method == "gradcam" else None
    )
    torch.testing.assert_close(found.raw, expected.raw)
    assert type(model) is Remembering
    assert not {"ramp", "rise", "fall"} & set(vars(model))
    for memory in (Remembering.ramp, Remembering.rise, Remembering.fall.remembering):
        assert memory.cache_info().currsize == 1
        memory.cache_clear()


def test_classes_without_memory_are_themselves():
    for kind in (nn.Conv2d, nn.Sequential, nn.TransformerEncoderLayer):
        assert forgetful(kind) is kind
    assert issubclass(forgetful(Remembering), Remembering)
    assert forgetful(Remembering).__name__ == "Remembering"
