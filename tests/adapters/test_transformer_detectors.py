"""Where transformers that detect are explained: tokens that ask beside the image's,
and those of a decoder."""

import pytest
import torch

import camport
from benchmarks.detectors.list import SIZE, awake, detr, yolos
from benchmarks.detectors.measure import explained
from camport.adapters import DetectionAdapter
from camport.core.maps.token_grid import Grid

pytestmark = pytest.mark.filterwarnings("ignore")
IMAGES = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def test_tokens_that_ask_run_beside_the_images():
    """At the last block's input the image's tokens are still read:
    at its output they have no gradient."""
    found = explained(awake(yolos()), IMAGES)
    assert found.layers == ("vit.encoder.layer.2.layernorm_before",)
    assert found.largest > 0
    assert found.gradient < 1e-6


def test_maps_are_those_of_the_images_tokens():
    """Of [b, 1 + 8*10 + 20, c] the first token and the last twenty lie nowhere on the image."""
    model = awake(yolos())
    kept = []
    layer = model.vit.encoder.layer[2].layernorm_before
    handle = layer.register_forward_hook(lambda module, args, output: kept.append(output))
    bound = camport.bind(model, "hirescam", adapter=DetectionAdapter(threshold=0.0, most=1))
    found = bound(IMAGES[:1])
    kept.clear()
    value = model(IMAGES[:1]).logits[0, int(found.figures["index"][0]), int(found.target[0])]
    handle.remove()
    (tokens,) = kept
    (gradient,) = torch.autograd.grad(value, tokens)
    assert tokens.shape == (1, 1 + 8 * 10 + 20, 48)
    wanted = [v[0, 1:81].reshape(8, 10, 48).permute(2, 0, 1) for v in (tokens, gradient)]
    torch.testing.assert_close(found.activations[0][0], wanted[0])
    torch.testing.assert_close(found.gradients[0][0], wanted[1], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(
        found.raw[0], (wanted[0] * wanted[1]).sum(0).relu(), rtol=1e-4, atol=1e-7
    )


def test_a_decoders_queries_are_explained_at_the_maps_before_it():
    """Not at the map of positions, which knows nothing of the image."""
    found = explained(awake(detr()), IMAGES)
    assert found.layers == ("model.input_projection",)
    assert found.largest > 0
    assert found.gradient < 1e-6


def test_a_row_of_tokens_with_both_ends():
    grid = Grid("tokens", 2, (3, 4), 5)
    tokens = torch.arange(2 * 19 * 6, dtype=torch.float32).reshape(2, 19, 6)
    maps = grid.to_maps(tokens)
    assert maps.shape == (2, 6, 3, 4)
    assert torch.equal(maps[1, :, 1, 2], tokens[1, 2 + 4 + 2])
    assert torch.equal(grid.from_maps(maps, tokens), tokens)
    moved = grid.from_maps(maps + 1, tokens)
    assert torch.equal((moved - tokens).amax((0, 2)).nonzero()[:, 0], torch.arange(2, 14))
