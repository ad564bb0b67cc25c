"""What the passes rewrite, and what they must leave alone."""

import torch
import torch.nn.functional as F
from torch import Tensor

from camport.export.capture.capture import Captured
from camport.export.lower import lower, replay
from camport.export.proof.float64_reference import in_float64

AXES = {"x": {0: "b"}, "c": {0: "b"}}


def lowered(function, state: dict[str, Tensor], x: Tensor) -> tuple[Captured, list[str]]:
    inputs = {"x": x, "c": torch.zeros(x.shape[0], dtype=torch.int64)}
    graph = lower(function, state, inputs, AXES)
    given = {"x": torch.randn(3, *x.shape[1:]), "c": torch.tensor([0, 2, 1])}
    expected = in_float64(function, state, given)
    got = in_float64(replay(graph), graph.exact_state, given)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-12, atol=1e-14, equal_nan=True)
    return graph, [str(n.target) for n in graph.graph.graph.nodes]


def test_onehot_product_becomes_rows() -> None:
    def function(state, inputs):
        onehot = (torch.arange(5)[None] == inputs["c"][:, None]).to(inputs["x"].dtype)
        return {"y": onehot @ state["w"] + inputs["x"]}

    _, targets = lowered(function, {"w": torch.randn(5, 4)}, torch.randn(2, 4))
    assert "aten.mm.default" not in targets
    assert "aten.index_select.default" in targets


def test_shifted_range_is_no_onehot() -> None:
    def function(state, inputs):
        onehot = (torch.arange(1, 6)[None] == inputs["c"][:, None]).to(inputs["x"].dtype)
        return {"y": onehot @ state["w"] + inputs["x"]}

    _, targets = lowered(function, {"w": torch.randn(5, 4)}, torch.randn(2, 4))
    assert "aten.mm.default" in targets


def attention(mask: bool):
    def function(state, inputs):
        q = inputs["x"]
        allowed = torch.zeros(5, 5, dtype=torch.bool) if mask else None
        return {"y": F.scaled_dot_product_attention(q, 2 * q, q + 1, attn_mask=allowed)}

    return function


def test_guard_is_dropped_without_a_mask_and_kept_with_one() -> None:
    """A mask that empties every row gives 0 in PyTorch; without the guard it would give NaN."""
    x = torch.randn(2, 3, 5, 4)
    assert not any("any" in t for t in lowered(attention(False), {}, x)[1])
    lowered(attention(True), {}, x)


def test_products_with_other_than_ones_stay() -> None:
    def function(state, inputs):
        return {"y": inputs["x"] * torch.ones_like(inputs["x"]) * torch.full_like(inputs["x"], 2.0)}

    _, targets = lowered(function, {}, torch.randn(2, 4))
    assert targets.count("aten.mul.Tensor") == 1


def test_mean_of_a_partly_expanded_tensor_stays() -> None:
    def function(state, inputs):
        wide = inputs["x"][:, :, None, None].expand(-1, -1, 3, 4)
        tall = inputs["x"][:, :, None].expand(-1, -1, 3) / 3
        return {"y": wide.mean((2, 3), keepdim=True), "z": tall.mean(1, keepdim=True), "t": tall}

    _, targets = lowered(function, {}, torch.randn(2, 4))
    assert targets.count("aten.mean.dim") == 1


def test_weighted_sums_of_channels_become_products_of_matrices() -> None:
    def function(state, inputs):
        x = inputs["x"]
        return {
            "y": (x.mean((2, 3), keepdim=True) * x).sum(1),
            "z": (x * state["w"][:, None, None]).sum(1),
        }

    _, targets = lowered(function, {"w": torch.randn(4)}, torch.randn(2, 4, 5, 3))
    assert targets.count("aten.bmm.default") == 1
    assert targets.count("aten.mul.Tensor") == 1  # one weight for all images is left


def test_sums_over_other_axes_and_products_used_again_stay() -> None:
    def function(state, inputs):
        x = inputs["x"]
        product = x.mean((2, 3), keepdim=True) * x
        return {"y": product.sum(2), "z": product.sum(1), "t": (x.mean(1, keepdim=True) * x).sum(1)}

    assert "aten.bmm.default" not in lowered(function, {}, torch.randn(2, 4, 5, 3))[1]
