"""Where the best layer lies on the image in no order that is told,
the next that can be read is chosen."""

import pytest
import torch
from torch import nn

import camport
from camport.adapters import ClassificationAdapter
from camport.errors import LayerError
from tests.core.test_choice import Block, hirescam_by_hand, tower
from tests.nets import images, seeded

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")


class Shuffled(nn.Module):
    """Tokens in the order of units of 2 x 2 places, as Hiera's and NesT's, behind maps;
    all is attended to in it."""

    def __init__(self, maps, back):
        super().__init__()
        self.maps, self.back = maps, back
        self.blocks, self.norm, self.fc = (
            nn.ModuleList(Block(6) for _ in range(2)),
            nn.LayerNorm(6),
            nn.Linear(6, 5),
        )
        order = torch.arange(64).view(4, 2, 4, 2).permute(1, 3, 0, 2).flatten()
        self.register_buffer("order", order)

    def forward(self, x):
        x = self.maps(x).flatten(2).mT[:, self.order]
        for block in self.blocks:
            x = block(x)
        if self.back:
            x = x[:, self.order.argsort()]
        return self.fc(self.norm(x).mean(1))


def stem():
    return nn.Sequential(nn.Conv2d(3, 6, 2, 2), nn.ReLU())


@pytest.mark.parametrize(("back", "layer"), [(False, "maps"), (True, "norm")])
def test_the_next_best_layer_that_can_be_read(back, layer):
    model, x = seeded(Shuffled(stem(), back)), images(2, (16, 16))
    bound = camport.bind(model, "hirescam")
    explanation = bound(x, 3)
    assert explanation.layers == (layer,) == tuple(map(str, bound.settled(x).layers))
    wanted = hirescam_by_hand(model, x, 3, layer, channels=2 if back else 1)
    assert bool(wanted.any())
    assert torch.allclose(explanation.raw.flatten(1), wanted.flatten(1), rtol=1e-5)


class Spread(nn.Module):
    """Tokens of patches that no module puts out as maps, in an order of units from the first."""

    def __init__(self):
        super().__init__()
        self.units = Shuffled(nn.Identity(), back=False)
        self.patches = nn.Linear(12, 6)

    def forward(self, x):
        patches = (
            x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        )
        x = self.patches(patches[:, self.units.order])
        for block in self.units.blocks:
            x = block(x)
        return self.units.fc(self.units.norm(x).mean(1))


def test_where_none_can_be_read_those_that_were_looked_at_are_named():
    with pytest.raises(
        LayerError, match=r"looked at \('units.blocks.1.norm', 'units.norm'\).*64 tokens"
    ):
        camport.explain(seeded(Spread()), images(1, (16, 16)), target=1)


def test_what_underflows_is_made_of_the_image():
    """Zeros all over, or a constant to which next to nothing is added,
    as networks of small weights make them."""
    for bias in (0.0, 0.5):
        model = seeded(
            nn.Sequential(tower(), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1), nn.AdaptiveAvgPool2d(1))
        )
        model.append(nn.Flatten())
        with torch.no_grad():
            for layer in (model[1], model[2]):
                layer.weight.mul_(1e-25)
                layer.bias.fill_(bias if layer is model[2] else 0)
        assert camport.bind(model).settled(images(1).float()).layers[0].module == "2"


class Merged(nn.Module):
    """An image's tokens, packed [n,c] and merged four to one, in one row with a text's,
    as Qwen2-VL reads them."""

    def __init__(self, text):
        super().__init__()
        self.patches, self.merge, self.words = (
            nn.Linear(48, 2),
            nn.Linear(8, 8),
            nn.Embedding(20, 8),
        )
        self.blocks, self.fc = nn.ModuleList(Block(8) for _ in range(2)), nn.Linear(8, 2)
        self.register_buffer("tokens", torch.arange(text)[None] % 20)

    def forward(self, x):
        patches = (
            x.unfold(2, 4, 4)
            .unfold(3, 4, 4)
            .permute(2, 3, 0, 1, 4, 5)
            .flatten(3)
            .flatten(0, 1)
            .flatten(1)
        )
        seen = self.merge(self.patches(patches).view(-1, 8))
        row = torch.cat([self.words(self.tokens), seen[None]], 1)
        for block in self.blocks:
            row = block(row)
        return self.fc(row[:, -1])


@pytest.mark.parametrize("text", [5, 12])  # 9 and 16 tokens in all would fit 3 x 3 and 4 x 4 places
def test_a_texts_and_merged_tokens_in_one_row_are_no_map(text):
    model, x = seeded(Merged(text)), images(1, (16, 16))
    with pytest.raises(LayerError, match=r"moves 4 of them alone|fit no grid"):
        camport.explain(model, x, target=1)
    with pytest.raises(
        LayerError, match=rf"puts out {text + 4} tokens, and the image moves 4 of them alone"
    ):
        camport.explain(
            model,
            x,
            target=1,
            layer="blocks.1.norm",
            adapter=ClassificationAdapter(patch_grid=SIDES[text]),
        )


SIDES = {5: (3, 3), 12: (4, 4)}
