"""Which entries a plan has, what they are called,
and that other libraries give the map they are timed for."""

import pytest
import torch

import camport
from camport.bench import Entry, Network, Plan
from camport.bench.pairs import Pairs, method_of, written
from camport.bench.peers import METHODS, Peers, installed
from camport.bench.plan import split
from camport.errors import InputError, MethodError
from camport.plugins import RISE, GradCAM, SmoothGrad
from tests.nets import GapNet, seeded

DIGITS = Network("demo:digits")


def test_every_combination_is_an_entry_and_each_engine_has_its_control():
    found = list(
        Plan(
            (DIGITS,), ("gradcam", "rise(samples=4)"), ("eager", "exported", "captum"), (1, 8)
        ).entries()
    )
    assert [(e.method, e.engine, e.batch) for e in found] == [
        (method, engine, batch)
        for method, engines in (
            ("bare", ("eager", "exported")),
            ("gradcam", ("eager", "exported", "captum")),
            ("rise(samples=4)", ("eager", "exported")),  # captum does not have it
        )
        for engine in engines
        for batch in (1, 8)
    ]


def test_a_plan_is_the_same_behind_a_file(tmp_path):
    plan = Plan(
        (DIGITS, Network("timm:x", "none", 96)), ("cam",), ("eager",), (2,), "cuda", 3, 0.5, "there"
    )
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan


def test_names_tell_entries_apart():
    entries = [
        Entry(network, method, engine, batch)
        for network in (DIGITS, Network("demo:digits", "w.pt"), Network("demo:digits", size=64))
        for method in ("gradcam", "gradcam@layer2")
        for engine in ("eager", "exported")
        for batch in (1, 2)
    ]
    assert len({str(entry) for entry in entries}) == len(entries)


@pytest.mark.parametrize(
    ("text", "method", "layer"),
    [
        ("gradcam", "gradcam", None),
        ("rise(samples=64)@layer1", "rise(samples=64)", "layer1"),
        ("gradcam@features.3", "gradcam", "features.3"),
        ("name(option='a@b')", "name(option='a@b')", None),
    ],
)
def test_the_layer_stands_behind_the_method(text, method, layer):
    assert split(text) == (method, layer)


def test_one_method_has_one_name():
    assert written("rise( samples = 64 )@layer1") == "rise(samples=64)@layer1"
    assert written("smoothgrad(noise=0.15)") == "smoothgrad"
    assert method_of("rise(samples=64)@layer1") == (RISE(samples=64), "layer1")
    with pytest.raises(InputError, match="rise has no such option; there is: "):
        written("rise(sample=64)")


@pytest.mark.parametrize("batch", [1, 3])
def test_both_sides_are_of_the_network_and_batch(tmp_path, batch):
    pair = Pairs(tmp_path, "cpu", 1).pair(Entry(DIGITS, "gradcam@layer2", "eager", batch))
    bare, explanation = pair.bare(), pair.explained()
    assert pair.layer == "layer2"
    assert explanation.raw.shape[0] == batch
    assert torch.allclose(explanation.outputs, bare, atol=1e-4)


def test_the_networks_task_is_told():
    with pytest.raises(
        InputError,
        match="demo:detector is a model for detection; camport bench measures classifiers",
    ):
        Pairs("", "cpu", 1).pair(Entry(Network("demo:detector"), "gradcam", "eager", 1))


@pytest.mark.parametrize("library", installed())
def test_other_libraries_explain_the_same(library):
    model = seeded(GapNet(), dtype=torch.float32)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    ours = camport.explain(model, images, method="gradcam", layer="features")
    map_ = torch.as_tensor(Peers(model, GradCAM(), "features", images, ours.target).run(library)())
    map_ = map_.detach().reshape(2, 32, 32)
    low, high = map_.amin((1, 2), keepdim=True), map_.amax((1, 2), keepdim=True)
    assert torch.allclose(
        (map_.clamp(min=0) - low.clamp(min=0)) / (high - low.clamp(min=0)), ours.heatmap, atol=0.05
    )


def test_methods_of_other_libraries_are_methods_of_ours():
    assert {name for methods in METHODS.values() for name in methods} <= set(camport.methods())


def test_numbers_of_samples_are_not_left_to_each_library():
    peers = Peers(seeded(GapNet()), SmoothGrad(), "", torch.randn(1, 3, 32, 32), 0)
    with pytest.raises(MethodError, match=r"say smoothgrad\(samples=NUMBER\)"):
        peers.run("captum")
