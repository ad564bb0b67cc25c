"""Class and register tokens that stand before the patches, behind them, on both sides,
or among them."""

import pytest
import torch
from torch import nn

import camport
from camport.errors import LayerError
from tests.nets import seeded

IMAGES = torch.randn(2, 3, 64, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
PLACES = 48


class Tokens(nn.Module):
    """Attention over 8 x 6 patches, with other tokens before, among and behind them."""

    def __init__(self, before=0, behind=0, among=0):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.before, self.behind, self.among = (
            nn.Parameter(torch.zeros(1, n, 8)) for n in (before, behind, among)
        )
        self.blocks = nn.ModuleList(nn.MultiheadAttention(8, 2, batch_first=True) for _ in range(2))
        self.middle, self.head = nn.Identity(), nn.Linear(8, 5)

    def block(self, i, t):
        return t + self.blocks[i](t, t, t)[0]

    def forward(self, x):
        patches = self.patches(x).flatten(2).transpose(1, 2)
        parts = (self.before, patches[:, :20], self.among, patches[:, 20:], self.behind)
        t = torch.cat([part.expand(len(x), -1, -1) for part in parts], 1)
        return self.head(self.block(1, self.middle(self.block(0, t)).tanh()).mean(1))


def gradcam(net, first):
    """L = ReLU(sum_k mean(G_k) A_k) over the patches, which begin at `first`."""
    kept = []
    handle = net.middle.register_forward_hook(lambda module, args, output: kept.append(output))
    y = net(IMAGES.requires_grad_())[:, 2]
    handle.remove()
    (g,) = torch.autograd.grad(y.sum(), kept[0])
    a, g = (v[:, first : first + PLACES].transpose(1, 2).unflatten(2, (8, 6)) for v in (kept[0], g))
    return (g.mean((2, 3), keepdim=True) * a).sum(1).relu().detach()


@pytest.mark.parametrize(("before", "behind"), [(1, 0), (0, 1), (0, 4), (1, 4), (5, 0)])
def test_patches_are_told_from_tokens_that_lie_nowhere(before, behind):
    net = seeded(Tokens(before, behind))
    found = camport.explain(net, IMAGES.detach(), "gradcam", 2, "middle").raw
    torch.testing.assert_close(found, gradcam(net, before))


def test_those_among_the_patches_are_refused_by_their_places():
    net = seeded(Tokens(among=1))
    with pytest.raises(
        LayerError, match=r"layer 'middle' has 49 tokens, .* stand among the others, at \[20\]"
    ):
        camport.explain(net, IMAGES.detach(), "gradcam", 2, "middle")


def test_attention_is_read_where_the_patches_are():
    """Rollout of one class token behind the patches:
    that of the same network with the token before them."""
    behind, before = seeded(Tokens(behind=1)), seeded(Tokens(before=1))
    before.load_state_dict({k.replace("behind", "tmp").replace("before", "behind").replace("tmp", "before"): v
                            for k, v in behind.state_dict().items()})  # fmt: skip
    found, wanted = (
        camport.explain(net, IMAGES.detach(), "attention_rollout").raw for net in (behind, before)
    )
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        camport.explain(behind, IMAGES.detach(), "legrad", 2).raw,
        camport.explain(before, IMAGES.detach(), "legrad", 2).raw,
    )
