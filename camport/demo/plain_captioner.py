"""The demo's captioner without attention: a convolutional network whose maps are summed up once,
and an LSTM.

"Show and Tell" (Vinyals et al. 2015, arXiv 1411.4555) in small: what is seen is told to the LSTM
before the first word, and nothing in it says which place a word is about. Called as the captioner
with attention.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camport.demo.captioner import Captioner
from camport.demo.places import moments


class PooledDecoder(nn.Module):
    """An LSTM that is told what there is and where, as sums over the map.

    d = relu(W a) makes detectors of the maps a; s_k = sum_i d_ki (1, y_i, x_i, y_i^2, x_i^2) says
    of each how much it found, where, and how far apart. The LSTM starts at a function of s.
    """

    def __init__(
        self,
        words: int,
        channels: int = 96,
        detectors: int = 64,
        hidden: int = 160,
        embedding: int = 24,
    ) -> None:
        super().__init__()
        self.detect = nn.Conv2d(channels, detectors, 1)
        self.told = nn.Sequential(
            nn.Linear(5 * detectors, 256), nn.ReLU(), nn.Linear(256, 2 * hidden)
        )
        self.embed = nn.Embedding(words, embedding)
        self.cell = nn.LSTMCell(embedding, hidden)
        self.head = nn.Linear(hidden, words)

    def forward(
        self, maps: Float[Tensor, "b c h w"], tokens: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t words"]:
        """Logits of the token behind each of `tokens`."""
        h, c = self.told(moments(torch.relu(self.detect(maps)))).chunk(2, 1)
        h, logits = torch.tanh(h), []
        for word in self.embed(tokens).unbind(1):
            h, c = self.cell(word, (h, c))
            logits.append(self.head(h))
        return torch.stack(logits, 1)


class PlainCaptioner(Captioner):
    """The captioner with a decoder that cannot look."""

    writer = PooledDecoder
