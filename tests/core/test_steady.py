"""Gradients of one image through batch normalisation,
where what follows makes tokens of its maps."""

import pytest
import torch
from torch import nn

import camport


class Tokens(nn.Module):
    """As RT-DETR begins: a projection, its batch normalisation, and rows of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, 2, 1)
        self.project = nn.Conv2d(8, 16, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.weights = nn.Parameter(torch.randn(4, 20, 16))

    def forward(self, images):
        tokens = self.bn(self.project(self.body(images).relu())).flatten(2).permute(0, 2, 1)
        return torch.stack([(tokens * weights).sum((1, 2)) for weights in self.weights], 1)


@pytest.mark.parametrize("layer", ["body", "project"])
def test_the_gradient_of_one_image_is_that_of_the_same_image_among_two(layer):
    torch.manual_seed(0)
    model = Tokens().double().eval()
    model.bn.running_var.uniform_(0.5, 1.5)
    images = torch.rand(1, 3, 8, 10, dtype=torch.float64)  # 4 x 5 tokens
    one = camport.explain(model, images, "hirescam", target=1, layer=layer)
    two = camport.explain(model, images.repeat(2, 1, 1, 1), "hirescam", target=1, layer=layer)
    torch.testing.assert_close(one.gradients[0][0], two.gradients[0][0], rtol=1e-9, atol=1e-12)
    assert not model.bn._forward_hooks
    # which exported files are compared with
    program = camport.bind(model, "hirescam", layer).program(images)
    again = program(program.state, {"images": images, "target": torch.tensor([1])})
    torch.testing.assert_close(again["gradients"], one.gradients[0], rtol=1e-9, atol=1e-12)
    step = 1e-6 * torch.randn(one.activations[0].shape, dtype=torch.float64)
    scores = []
    for sign in (1, -1):
        handle = model.get_submodule(layer).register_forward_hook(
            lambda m, a, out, s=sign: out + s * step
        )
        scores.append(float(model(images)[0, 1].detach()))
        handle.remove()
    assert (scores[0] - scores[1]) / 2 == pytest.approx(
        float((one.gradients[0] * step).sum()), rel=1e-5
    )
