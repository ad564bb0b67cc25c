"""Probabilities near 0, which ONNX Runtime's own Sigmoid gives as 0 or several percent off."""

import numpy as np
import pytest
import torch
from torch import nn

import camport
from camport.adapters import FunctionAdapter
from camport.export import to_onnx
from camport.export.capture.capture import capture
from camport.export.passes import exact_sigmoid
from camport.runtime import load


def mean(outputs):
    return outputs.flatten(1).mean(1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A map of probabilities between 1e-13 and 1e-5, as where a text detector finds no text."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 1, 1), nn.Sigmoid()
    ).eval()
    with torch.no_grad():
        model[2].weight *= 8
        model[2].bias.fill_(-21.0)
    bound = camport.bind(model, "hirescam", "0", FunctionAdapter(mean))
    path = tmp_path_factory.mktemp("sigmoid") / "map.onnx"
    to_onnx(bound, path, torch.randn(2, 3, 12, 12))
    return bound, load(path, ["cpu"])


@pytest.mark.parametrize("scale", [0.1, 1.0, 2.0])
def test_map_of_small_probabilities(exported, scale):
    bound, explainer = exported
    images = torch.randn(3, 3, 12, 12) * scale
    with torch.no_grad():
        assert bound.model(images).max() < 1e-3
    expected, result = bound(images), explainer(images.numpy())
    np.testing.assert_allclose(result.score, expected.score, rtol=1e-4)
    np.testing.assert_allclose(result.outputs, expected.outputs, rtol=1e-4)
    np.testing.assert_allclose(result.gradients, expected.gradients[0], rtol=1e-3, atol=1e-13)
    np.testing.assert_allclose(result.heatmap, expected.heatmap, atol=1e-4)


def test_a_sigmoid_that_weights_its_own_input_stays():
    def function(state, inputs):
        x = inputs["x"]
        return {
            "silu": x * torch.sigmoid(x),
            "gate": (x + 1) * torch.sigmoid(x + 2),
            "far": torch.sigmoid(3 * x),
        }

    graph = capture(function, {}, {"x": torch.randn(2, 4)}, {"x": {0: "b"}}).graph
    assert exact_sigmoid(graph) == 2
    graph.graph.eliminate_dead_code()
    graph.recompile()
    graph.graph.lint()
    targets = [str(node.target) for node in graph.graph.nodes]
    assert targets.count("aten.sigmoid.default") == 1
    x = torch.tensor([[-90.0, -30.0, 0.0, 40.0]])
    silu, gate, far = graph(x)
    torch.testing.assert_close(silu, x * torch.sigmoid(x))
    torch.testing.assert_close(gate, (x + 1) * torch.sigmoid(x + 2), rtol=1e-5, atol=0)
    torch.testing.assert_close(far, torch.sigmoid(3 * x), rtol=1e-5, atol=0)
