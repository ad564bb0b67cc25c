"""The demo's captioner: a convolutional network and an LSTM with soft attention.

"Show, Attend and Tell" (Xu et al. 2015, arXiv 1502.03044), equations 4 to 9, in small.
Teacher-forced: `network(images, tokens)` gives for every token the logits of the one that follows.
"""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camport.demo.language import CAPTION_LENGTH, CAPTION_WORDS, END, START
from camport.demo.networks import DigitResNet
from camport.demo.places import moments, with_places


class Encoder(nn.Module):
    """`DigitResNet` without its head: maps of 96 channels and stride 8."""

    def __init__(self) -> None:
        super().__init__()
        trunk = DigitResNet()
        self.conv1, self.bn1, self.relu = trunk.conv1, trunk.bn1, trunk.relu
        self.layer1, self.layer2, self.layer3 = trunk.layer1, trunk.layer2, trunk.layer3

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 96 h2 w2"]:
        """The last maps."""
        x = self.relu(self.bn1(self.conv1(images)))
        return self.layer3(self.layer2(self.layer1(x)))


GLANCE = 4
"""Maps that the decoder starts from."""


class AttentionDecoder(nn.Module):
    """An LSTM that looks at the maps anew for every word.

    e_ti = v . relu(W_a [a_i, place_i] + W_h h_(t-1)), alpha_t = softmax(e_t), z_t = sum_i alpha_ti
    [a_i, place_i]. It starts from a glance, a few numbers of how much there is and how far apart
    ("left of" or "above"?); what a digit is called it only knows where it looked.
    """

    def __init__(
        self, words: int, channels: int = 96, hidden: int = 112, embedding: int = 24, keys: int = 48
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, embedding)
        self.keys = nn.Conv2d(channels + 2, keys, 1)
        self.query = nn.Linear(hidden, keys, bias=False)
        self.energy = nn.Linear(keys, 1, bias=False)
        self.glance = nn.Conv2d(channels, GLANCE, 1)
        self.first = nn.Linear(5 * GLANCE, 2 * hidden)
        self.cell = nn.LSTMCell(embedding + channels + 2, hidden)
        self.head = nn.Linear(hidden + channels + 2, words)

    def forward(
        self, maps: Float[Tensor, "b c h w"], tokens: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t words"]:
        """Logits of the token behind each of `tokens`."""
        return self.look(maps, tokens)[0]

    def look(
        self, maps: Float[Tensor, "b c h w"], tokens: Int[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b t words"], Float[Tensor, "b t cells"]]:
        """The logits, and how much it looked at each cell of the map, row by row."""
        placed = with_places(maps)
        keys, values = (
            self.keys(placed).flatten(2).transpose(1, 2),
            placed.flatten(2).transpose(1, 2),
        )
        h, c = torch.tanh(self.first(moments(torch.relu(self.glance(maps))))).chunk(2, 1)
        logits, looked = [], []
        for word in self.embed(tokens).unbind(1):
            weights = self.energy(torch.relu(keys + self.query(h)[:, None])).softmax(1)
            seen = (weights.transpose(1, 2) @ values)[:, 0]
            h, c = self.cell(torch.cat([word, seen], 1), (h, c))
            logits.append(self.head(torch.cat([h, seen], 1)))
            looked.append(weights[..., 0])
        return torch.stack(logits, 1), torch.stack(looked, 1)


class Captioner(nn.Module):
    """An encoder and a decoder.

    Attributes:
        start_token, end_token: what a caption begins and ends with.
        caption_words, caption_length: the tokens as texts, and how many the longest caption has.
        writer: makes the decoder for so many words.
    """

    writer: ClassVar[type[nn.Module]] = AttentionDecoder
    start_token, end_token, caption_words, caption_length = (
        START,
        END,
        CAPTION_WORDS,
        CAPTION_LENGTH,
    )

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = self.writer(len(CAPTION_WORDS))

    def forward(
        self, images: Float[Tensor, "b 3 h w"], tokens: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t words"]:
        """Logits of the token behind each of `tokens`."""
        return self.decoder(self.encoder(images), tokens)
