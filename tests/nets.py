"""Tiny seeded networks for tests; each has `features` (to the target layer) and `head`."""

import torch
import torch.nn.functional as F
from torch import nn


def seeded(model: nn.Module, seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Random weights and awake batch-norm statistics, in evaluation mode."""
    g = torch.Generator().manual_seed(seed)
    model = model.to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            scale = 1.0 / max(1, p[0].numel()) ** 0.5 if p.dim() > 1 else 0.3
            p.copy_(
                torch.randn(p.shape, generator=g, dtype=dtype) * scale
                + (1.0 if p.dim() == 1 else 0.0)
            )
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.copy_(torch.randn(b.shape, generator=g, dtype=dtype) * 0.2)
            elif name.endswith("running_var"):
                b.copy_(torch.rand(b.shape, generator=g, dtype=dtype) + 0.5)
    return model.eval()


class Net(nn.Module):
    """Two convolutions with batch-norm, a third behind the target layer, and a linear head."""

    def __init__(self, classes: int = 5, inplace: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace),
            nn.Conv2d(6, 8, 3, 2, 1),
        )
        self.head = nn.Sequential(
            nn.ReLU(inplace),
            nn.Conv2d(8, 7, 3, padding=1),
            nn.Tanh(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(28, classes),
        )

    def forward(self, x):
        return self.head(self.features(x))


class GapNet(nn.Module):
    """Global average pooling and one linear layer: what CAM asks for."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3, 2, 1), nn.ReLU()
        )
        self.fc = nn.Linear(5, classes)

    def head(self, a):
        return self.fc(F.adaptive_avg_pool2d(a, 1).flatten(1))

    def forward(self, x):
        return self.head(self.features(x))


class TokenNet(nn.Module):
    """A vision transformer with a class token, written out."""

    def __init__(self, classes: int = 5, width: int = 6, depth: int = 2) -> None:
        super().__init__()
        self.patches, self.class_token = (
            nn.Conv2d(3, width, 2, 2),
            nn.Parameter(torch.zeros(1, 1, width)),
        )
        self.blocks = nn.ModuleList(TokenBlock(width) for _ in range(depth))
        self.norm, self.fc = nn.LayerNorm(width), nn.Linear(width, classes)

    def embed(self, x):
        patches = self.patches(x).flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1)

    def head(self, tokens):
        return self.fc(self.norm(tokens)[:, 0])

    def forward(self, x):
        tokens = self.embed(x)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens)


class TokenBlock(nn.Module):
    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.proj = (
            nn.LayerNorm(width),
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
        )
        self.norm2, self.up, self.down = (
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.Linear(2 * width, width),
        )

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).movedim(1, 3).unbind(1)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


def images(
    b: int = 3, size: tuple[int, int] = (14, 18), dtype: torch.dtype = torch.float64, seed: int = 1
):
    return torch.randn(b, 3, *size, dtype=dtype, generator=torch.Generator().manual_seed(seed))
