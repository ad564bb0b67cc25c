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
            p.copy_(torch.randn(p.shape, generator=g, dtype=dtype) * scale + (1.0 if p.dim() == 1 else 0.0))
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
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(5, classes)

    def head(self, a):
        return self.fc(F.adaptive_avg_pool2d(a, 1).flatten(1))

    def forward(self, x):
        return self.head(self.features(x))


def images(b: int = 3, size: tuple[int, int] = (14, 18), dtype: torch.dtype = torch.float64, seed: int = 1):
    return torch.randn(b, 3, *size, dtype=dtype, generator=torch.Generator().manual_seed(seed))
