"""The demo's question answerer: what is asked about is gated into the maps,
counted and looked at."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camport.demo.captioner import Encoder
from camport.demo.language import ANSWERS, PAD, QUESTION_LENGTH, QUESTION_WORDS
from camport.demo.places import with_places

LEAST = 64.0
"""What the sum over the cells is divided by: how many there are must stay to be seen in it."""


STEEPEST = 8.0
"""How many times a question's slope goes into the energies, so that training finds it early."""


class Answerer(nn.Module):
    """A question conditions the maps (FiLM, Perez et al. 2017, arXiv 1709.07871); a sum over them
    counts, and an attention, whose energies the question makes rise in a direction, picks the one
    that is leftmost.

    Attributes:
        question_words, question_length: the words by token, and how many a question has, padded.
        answers: the answers by class.
    """

    question_words, question_length, answers = QUESTION_WORDS, QUESTION_LENGTH, ANSWERS

    def __init__(self, channels: int = 96, hidden: int = 72) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.words = nn.Embedding(len(QUESTION_WORDS), hidden, padding_idx=PAD)
        self.read = nn.Sequential(
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 4 * hidden + channels + 2)
        )
        self.keys = nn.Conv2d(channels + 2, hidden, 1)
        self.mix = nn.Conv2d(hidden, hidden, 1)
        self.energy = nn.Conv2d(hidden, 1, 1)
        self.head = nn.Sequential(
            nn.Linear(2 * hidden + channels, 96), nn.ReLU(), nn.Linear(96, len(ANSWERS))
        )
        self.hidden, self.channels = hidden, channels

    def forward(
        self, images: Float[Tensor, "b 3 h w"], question: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b answers"]:
        """One logit an answer."""
        return self.answer(self.encoder(images), question)

    def answer(
        self, maps: Float[Tensor, "b 96 h w"], question: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b answers"]:
        """The same from the encoder's maps."""
        return self.look(maps, question)[0]

    def look(
        self, maps: Float[Tensor, "b 96 h w"], question: Int[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b answers"], Float[Tensor, "b cells"]]:
        """The logits, and how much it looked at each cell of the map, row by row."""
        asked = self.read(self.words(question).sum(1))
        gain, shift, again, counted, looked, slope = asked.split(
            [self.hidden] * 4 + [self.channels, 2], 1
        )
        placed = with_places(maps)
        x = torch.relu(self.keys(placed) * (1 + gain[..., None, None]) + shift[..., None, None])
        x = torch.relu(self.mix(x) + again[..., None, None])
        total = x.sum((2, 3)) / LEAST
        rising = (placed[:, -2:] * slope[..., None, None]).sum(1, keepdim=True)
        weights = (self.energy(x) + STEEPEST * rising).flatten(2).softmax(2)
        seen = (weights * maps.flatten(2)).sum(2)
        return self.head(torch.cat([total, counted, seen * (1 + looked)], 1)), weights[:, 0]
