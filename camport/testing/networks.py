"""The small networks a plugin is checked on: seeded, in double precision,
so that a difference is a difference."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from camport.core.isolation.random_state import random_state_kept

CLASSES = 5


class ConvNet(nn.Module):
    """Convolutions before and behind the target layer `features`, batch-norm,
    and a head that is not linear."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1)
        )
        self.head = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(8, 7, 3, padding=1),
            nn.Tanh(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(7, CLASSES),
        )

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """One logit a class."""
        return self.head(self.features(images))


class GapNet(nn.Module):
    """Global average pooling and one linear layer behind `features`: the head that CAM asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 7, 3, 2, 1), nn.ReLU()
        )
        self.fc = nn.Linear(7, CLASSES)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """One logit a class."""
        return self.fc(F.adaptive_avg_pool2d(self.features(images), 1).flatten(1))


class PixelNet(nn.Module):
    """One row of logits a pixel, as segmentation networks give."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 7, 3, 2, 1), nn.ReLU()
        )
        self.head = nn.Conv2d(7, CLASSES, 1)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes h w"]:
        """Logits at the size of the images."""
        size = (images.shape[2], images.shape[3])
        return F.interpolate(self.head(self.features(images)), size=size, mode="bilinear")


class TokenNet(nn.Module):
    """A vision transformer with a class token, for methods that read its attention."""

    def __init__(self, width: int = 8, depth: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 2, 2)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """One logit a class."""
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(patches.shape[0], -1, -1), patches], 1)
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        seen = self.norm1(tokens)
        tokens = tokens + self.attention(seen, seen, seen, need_weights=False)[0]
        return tokens + self.mlp(self.norm2(tokens))


class CaptionNet(nn.Module):
    """`features` and a recurrent cell that is told the mean of them with every word:
    what a caption is explained on."""

    start_token, end_token, words = 0, 1, 9

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 7, 3, 2, 1), nn.ReLU()
        )
        self.embed = nn.Embedding(self.words, 7)
        self.cell = nn.Linear(14, 7)
        self.head = nn.Linear(7, self.words)

    def forward(
        self, images: Float[Tensor, "b 3 h w"], tokens: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t words"]:
        """Logits of the token behind each of `tokens`."""
        seen = F.adaptive_avg_pool2d(self.features(images), 1).flatten(1)
        state, logits = torch.zeros_like(seen), []
        for word in self.embed(tokens).unbind(1):
            state = torch.tanh(self.cell(torch.cat([state + word, seen], 1)))
            logits.append(self.head(state))
        return torch.stack(logits, 1)


class QuestionNet(nn.Module):
    """`features` gated by the mean of a question's words: what an answer is explained on."""

    words = 9

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 7, 3, 2, 1), nn.ReLU()
        )
        self.embed = nn.Embedding(self.words, 7)
        self.head = nn.Linear(7, CLASSES)

    def forward(
        self, images: Float[Tensor, "b 3 h w"], question: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b answers"]:
        """One logit an answer."""
        asked = torch.tanh(self.embed(question).mean(1))
        return self.head((self.features(images) * asked[..., None, None]).mean((2, 3)))


class AnswerNet(CaptionNet):
    """`CaptionNet` that is asked a question first."""

    def forward(  # type: ignore[override]
        self,
        images: Float[Tensor, "b 3 h w"],
        question: Int[Tensor, "b q"],
        tokens: Int[Tensor, "b t"],
    ) -> Float[Tensor, "b t words"]:
        """Logits of the token behind each of `tokens`."""
        return (
            super().forward(images, tokens)
            * torch.tanh(self.embed(question).mean((1, 2)))[:, None, None]
        )


@dataclass(frozen=True)
class Network:
    """A network to check with.

    Attributes:
        model: in evaluation mode.
        layer: the target layer; None where it is chosen automatically.
        images: [b,c,H,W], at least two.
    """

    model: nn.Module
    layer: str | None
    images: Tensor


def networks() -> list[Network]:
    """The kit's own, the most demanding first."""
    images = torch.randn(
        3, 3, 14, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    with random_state_kept(images.device):  # modules draw their first weights from it
        found = [
            Network(seeded(make()), "features", images) for make in (ConvNet, GapNet, PixelNet)
        ]
        return [*found, Network(seeded(TokenNet()), "blocks.1", images)]


def asked_networks() -> list[Network]:
    """Those that are called with more than images; adapters alone know how."""
    images = torch.randn(
        3, 3, 14, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    with random_state_kept(images.device):
        return [
            Network(seeded(make()), "features", images)
            for make in (CaptionNet, QuestionNet, AnswerNet)
        ]


def seeded(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights that keep activations near one, awake batch-norm statistics,
    in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    with torch.no_grad():
        for p in model.parameters():
            drawn = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.copy_(drawn / p[0].numel() ** 0.5 if p.dim() > 1 else 0.3 * drawn + 0.7)
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(
                    torch.rand(buffer.shape, generator=generator, dtype=buffer.dtype) + 0.5
                )
    return model.eval()
