"""The layer that is chosen where nobody names one: it moves with the image, leads to the score,
and is no branch."""

import pytest
import torch
from torch import nn

import camport
from camport.adapters import ClassificationAdapter, FunctionAdapter
from camport.core.running.dependence import another
from camport.errors import LayerError, ReusedLayerWarning
from tests.nets import images, seeded

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")


def tower(width=6):
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU()
    )


def hirescam_by_hand(model, x, target, name, call=-1, channels=1):
    """relu(sum_k g_k a_k) at one run of a module, by a hook and autograd."""
    kept = []
    handle = model.get_submodule(name).register_forward_hook(
        lambda m, a, out: kept.append(out) or out.clone()
    )
    out = model(x.clone().requires_grad_())
    handle.remove()
    (gradient,) = torch.autograd.grad(out[:, target].sum(), kept[call])
    return (gradient * kept[call]).sum(channels).relu().detach()


class Reference(nn.Module):
    """How near an image is to a stored one, by one tower that both go through."""

    def __init__(self, stored_first):
        super().__init__()
        self.tower, self.fc, self.stored_first = tower(), nn.Linear(6, 3), stored_first
        self.register_buffer("reference", torch.zeros(1, 3, 14, 18))

    def forward(self, x):
        r = self.reference
        seen = [self.tower(v).mean((2, 3)) for v in ((r, x) if self.stored_first else (x, r))]
        return self.fc((seen[0] - seen[1]) ** 2)


@pytest.mark.parametrize("stored_first", [False, True])
def test_of_the_runs_of_a_siamese_network_the_one_on_the_image(stored_first):
    model = seeded(Reference(stored_first))
    model.reference.copy_(images(1)[0])
    x, run = images(2), int(stored_first)
    explanation = camport.explain(model, x, "hirescam", 1)
    assert explanation.layers == (f"tower@{run}",)
    wanted = hirescam_by_hand(model, x, 1, "tower", run)
    assert torch.allclose(explanation.raw, wanted, rtol=1e-5)
    assert not torch.allclose(explanation.activations[0][0], explanation.activations[0][1])


class Pair(nn.Module):
    """Two pictures in six channels through one tower."""

    def __init__(self):
        super().__init__()
        self.tower, self.fc = tower(), nn.Linear(6, 3)

    def forward(self, x):
        return self.fc((self.tower(x[:, :3]).mean((2, 3)) - self.tower(x[:, 3:]).mean((2, 3))) ** 2)


def test_where_several_runs_are_of_the_image_the_choice_is_said():
    x = torch.cat([images(1), images(1).flip(3)], 1)
    with pytest.warns(
        ReusedLayerWarning, match=r"one of 2 runs .*layer='tower@0', layer='tower@1'"
    ):
        assert camport.explain(seeded(Pair()), x, target=1).layers == ("tower@1",)


class Attention(nn.Module):
    def __init__(self, width, softened=True):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x, y=None):
        y = x if y is None else y
        return (self.q(x) @ self.k(y).mT).softmax(-1) @ self.v(y)


class Block(nn.Module):
    def __init__(self, width, crossed=False):
        super().__init__()
        self.norm, self.attention, self.mlp = (
            nn.LayerNorm(width),
            Attention(width),
            nn.Linear(width, width),
        )
        self.cross, self.cross_norm = (
            (Attention(width), nn.LayerNorm(width)) if crossed else (None, None)
        )

    def forward(self, x, y=None):
        x = x + self.attention(self.norm(x))
        if self.cross is not None:
            x = x + self.cross(self.cross_norm(x), y)
        return x + self.mlp(x)


class See(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.patches, self.blocks = (
            nn.Conv2d(3, width, 4, 4),
            nn.ModuleList(Block(width) for _ in range(2)),
        )

    def forward(self, x):
        x = self.patches(x).flatten(2).mT
        for block in self.blocks:
            x = block(x)
        return x


class Read(nn.Module):
    def __init__(self, width=8, crossed=False):
        super().__init__()
        self.words, self.blocks = (
            nn.Embedding(20, width),
            nn.ModuleList(Block(width, crossed) for _ in range(2)),
        )

    def forward(self, tokens, y=None):
        x = self.words(tokens)
        for block in self.blocks:
            x = block(x, y)
        return x


class TwoTowers(nn.Module):
    """How well texts fit an image: by their angle, or by a reader that attends to what is seen."""

    def __init__(self, length, crossed):
        super().__init__()
        self.see, self.read, self.crossed = See(), Read(crossed=crossed), crossed
        self.fc = nn.Linear(8, 2)
        self.register_buffer("tokens", torch.arange(length)[None] % 20)

    def forward(self, x):
        seen, tokens = self.see(x), self.tokens.expand(len(x), -1)
        if self.crossed:
            return self.fc(self.read(tokens, seen)[:, 0])
        return self.fc(seen.mean(1) * self.read(tokens).mean(1))


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("length", [7, 9, 16, 17, 4])
def test_a_text_is_no_map_of_the_image(length, crossed):
    model, x = seeded(TwoTowers(length, crossed)), images(1, (16, 16))
    explanation = camport.explain(model, x, "hirescam", 1)
    assert explanation.layers == ("see.blocks.1.norm",)
    wanted = hirescam_by_hand(model, x, 1, "see.blocks.1.norm", channels=2)
    assert torch.allclose(explanation.raw.flatten(1), wanted, rtol=1e-5)


class Joined(nn.Module):
    """An image's tokens in one row with a text's, as language models with eyes read them."""

    def __init__(self, length):
        super().__init__()
        self.see, self.words, self.fc = See(), nn.Embedding(20, 8), nn.Linear(8, 2)
        self.blocks = nn.ModuleList(Block(8) for _ in range(2))
        self.register_buffer("tokens", torch.arange(length)[None] % 20)

    def forward(self, x):
        row = torch.cat([self.see(x), self.words(self.tokens.expand(len(x), -1))], 1)
        for block in self.blocks:
            row = block(row)
        return self.fc(row[:, -1])


@pytest.mark.parametrize("length", [3, 9, 20])
def test_a_row_of_an_images_and_a_texts_tokens_is_no_map(length):
    model, x = seeded(Joined(length)), images(1, (16, 16))
    explanation = camport.explain(model, x, "hirescam", 1)
    assert explanation.layers == ("see.blocks.1.norm",)
    wanted = hirescam_by_hand(model, x, 1, "see.blocks.1.norm", channels=2)
    assert torch.allclose(explanation.raw.flatten(1), wanted, rtol=1e-5)


class Places(nn.Module):
    """An embedding of places as maps, as detectors have, which runs after the last maps."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, like):
        row = torch.linspace(-1, 1, like.shape[3], dtype=like.dtype)
        return row.expand(len(like), 6, *like.shape[2:]) * self.scale[:, None, None]


class Stages(nn.Module):
    """Two stages of tokens, the second of fewer, with a class token that comes late."""

    def __init__(self):
        super().__init__()
        self.see, self.merge, self.late = (
            See(),
            nn.Conv2d(8, 8, 2, 2),
            nn.Parameter(torch.zeros(1, 1, 8)),
        )
        self.blocks, self.fc = nn.ModuleList(Block(8) for _ in range(2)), nn.Linear(8, 2)

    def forward(self, x):
        maps = self.merge(self.see(x).mT.unflatten(2, (8, 8)))
        row = torch.cat([self.late.expand(len(x), -1, -1), maps.flatten(2).mT], 1)
        for block in self.blocks:
            row = block(row)
        return self.fc(row[:, 0])


def test_later_stages_and_a_late_class_token_lie_on_the_image():
    explanation = camport.explain(seeded(Stages()), images(1, (32, 32)), "hirescam", 1)
    assert explanation.layers == ("blocks.1.norm",)
    assert tuple(explanation.raw.shape) == (1, 4, 4)


class Placed(nn.Module):
    def __init__(self):
        super().__init__()
        self.features, self.places, self.fc = tower(), Places(), nn.Linear(6, 3)

    def forward(self, x):
        maps = self.features(x)
        return self.fc((maps * self.places(maps)).mean((2, 3)))


class Ones(nn.Module):
    """Maps of ones in the shape of what it is given, made by arithmetic that autograd follows."""

    def forward(self, like):
        return like * 0 + 1


def test_a_path_that_carries_nothing_is_none():
    model = Placed()
    model.places = Ones()
    assert camport.explain(seeded(model), images(1), target=1).layers == ("features",)


def test_what_is_lost_in_rounding_is_made_of_the_image():
    model = seeded(
        nn.Sequential(tower(), nn.Conv2d(6, 6, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    with torch.no_grad():
        model[1].weight.mul_(1e-20)
    assert camport.explain(model, images(1), target=1).layers == ("2",)


def test_an_embedding_of_places_is_no_map_of_the_image():
    assert camport.explain(seeded(Placed()), images(1), target=1).layers == ("features",)


class DropActivation(nn.Module):
    """act(drop(a + b)): no module makes the sum, and the activation writes into it."""

    def __init__(self, between):
        super().__init__()
        self.a, self.b, self.drop = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), between
        self.act, self.fc = nn.ReLU(inplace=True), nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.act(self.drop(self.a(x) + self.b(x))).mean((2, 3)))


@pytest.mark.parametrize("between", [nn.Dropout(), nn.Identity()], ids=["dropout", "identity"])
def test_an_activation_that_writes_into_a_sum(between):
    model, x = seeded(DropActivation(between)), images(2)
    explanation = camport.explain(model, x, "hirescam", 1)
    assert explanation.layers == ("act",)
    sums = (model.a(x) + model.b(x)).relu()
    assert torch.allclose(explanation.activations[0], sums, rtol=1e-6)


class Branches(nn.Module):
    """Parallel branches, added or joined outside modules."""

    def __init__(self, join, stride=1):
        super().__init__()
        self.join = join
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.a, self.b, self.c = (nn.Conv2d(8, 8, n, stride, n // 2) for n in (1, 3, 5))
        self.fc = nn.Linear(24 if join == "cat" else 8, 5)

    def forward(self, x):
        x = self.stem(x)
        parts = [self.a(x), self.b(x), self.c(x)]
        return self.fc(
            (torch.cat(parts, 1) if self.join == "cat" else parts[0] + parts[1] + parts[2]).mean(
                (2, 3)
            )
        )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("join", ["cat", "sum"])
def test_one_branch_of_several_is_not_taken(join, stride):
    model, x = seeded(Branches(join, stride)), images(2)
    explanation = camport.explain(model, x, "hirescam", 1)
    assert explanation.layers == ("stem",)
    assert torch.allclose(explanation.raw, hirescam_by_hand(model, x, 1, "stem"), rtol=1e-5)


class TwoHeads(nn.Module):
    """Two outputs; the maps that run last lead to the second."""

    def __init__(self, joined):
        super().__init__()
        self.features, self.joined = tower(), joined
        self.first, self.second = nn.Conv2d(6, 6, 3, 1, 1), nn.Conv2d(6, 6, 3, 1, 1)
        self.classes, self.boxes = nn.Linear(6, 5), nn.Linear(6, 4)

    def forward(self, x):
        x = self.features(x)
        classes = self.classes(self.first(x).mean((2, 3)))
        boxes = self.boxes(self.second(x).mean((2, 3)))
        return torch.cat([classes, boxes], 1) if self.joined else (classes, boxes)


@pytest.mark.parametrize("joined", [False, True])
def test_the_maps_lead_to_the_output_that_is_explained(joined):
    model, x = seeded(TwoHeads(joined)), images(1)
    assert camport.explain(model, x, target=1, adapter=ClassificationAdapter(output=0)).layers == (
        "first",
    )
    last = FunctionAdapter(lambda out: out[:, 7] if joined else out[1][:, 2])
    assert camport.explain(model, x, adapter=last).layers == ("second",)


class Depth(nn.Module):
    """An encoder and a decoder; the output is a map."""

    def __init__(self, end, skip=False):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU()
        )
        self.up = nn.ConvTranspose2d(8, 6, 4, 4)
        self.decoder = nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU(), nn.Conv2d(6, 1, 3, 1, 1))
        self.full = nn.Conv2d(3, 6, 3, 1, 1) if skip else None
        self.end = end

    def forward(self, x):
        maps = self.up(self.encoder(x))
        if self.full is not None:
            maps = maps + self.full(x)
        return self.end(self.decoder(maps))


ENDS = {
    "output": nn.Identity(),
    "sigmoid": nn.Sigmoid(),
    "without-channel": nn.Flatten(0, 1),
    "resized": nn.Upsample(scale_factor=2, mode="bilinear"),
}


@pytest.mark.parametrize("skip", [False, True], ids=["plain", "skip"])
@pytest.mark.parametrize("end", ENDS)
def test_the_deepest_features_of_a_network_whose_output_is_a_map(end, skip):
    model, x = seeded(Depth(ENDS[end], skip)), images(1, (16, 24))
    score = FunctionAdapter(lambda out: out.flatten(1).mean(1))
    explanation = camport.explain(model, x, "hirescam", adapter=score)
    assert explanation.layers == ("encoder",)


class OneSize(nn.Module):
    """A network that keeps the size: its last maps are its output."""

    def __init__(self, k, end):
        super().__init__()
        self.a, self.act, self.last, self.end = (
            nn.Conv2d(3, 6, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(6, k, 1),
            end,
        )

    def forward(self, x):
        return self.end(self.last(self.act(self.a(x))))


@pytest.mark.parametrize(
    "end", [nn.Sigmoid(), nn.Softmax(1), nn.Identity()], ids=["sigmoid", "softmax", "output"]
)
@pytest.mark.parametrize("k", [2, 6])
def test_the_output_and_what_an_activation_makes_it_of_are_not_taken(k, end):
    first = FunctionAdapter(lambda out: out[:, 0, 5, 7] + out[:, 0].mean((1, 2)))
    assert camport.explain(seeded(OneSize(k, end)), images(1), adapter=first).layers == ("act",)


class Frozen(nn.Module):
    """A backbone without gradients under a head: the commonest way to freeze one."""

    def __init__(self):
        super().__init__()
        self.features, self.fc = tower(), nn.Linear(6, 3)

    def forward(self, x):
        with torch.no_grad():
            x = self.features(x)
        return self.fc(x.mean((2, 3)))


class Inference(Frozen):
    """The same in inference mode."""

    @torch.inference_mode()
    def seen(self, x):
        return self.features(x)

    def forward(self, x):
        return self.fc(self.seen(x).clone().mean((2, 3)))


@pytest.mark.parametrize("make", [Frozen, Inference])
def test_a_frozen_backbone_is_explained_where_it_ends(make):
    model, x = seeded(make()), images(2)
    explanation = camport.explain(model, x, "hirescam", 1)
    assert explanation.layers == ("features",)
    maps = model.features(x)
    wanted = (maps * model.fc.weight[1][:, None, None] / maps[0, 0].numel()).sum(1).relu()
    assert torch.allclose(explanation.raw, wanted, rtol=1e-5)


class Numbers(nn.Module):
    """A model that leaves autograd on its way."""

    def __init__(self):
        super().__init__()
        self.features, self.fc = tower(), nn.Linear(6, 3)

    def forward(self, x):
        maps = self.features(x)
        return self.fc(torch.from_numpy(maps.numpy()).mean((2, 3)))


def test_without_gradients_a_layer_is_chosen_still():
    explanation = camport.explain(seeded(Numbers()), images(1), "eigencam")
    assert explanation.layers == ("features",)


def test_nothing_that_moves_is_said_with_what_was_looked_at():
    class Still(nn.Module):
        def __init__(self):
            super().__init__()
            self.places, self.fc = Places(), nn.Linear(6 + 3, 3)

        def forward(self, x):
            return self.fc(torch.cat([self.places(x[:, :1]).mean((2, 3)), x.mean((2, 3))], 1))

    with pytest.raises(LayerError, match=r"places.*1 do not change with the image.*layer=\.\.\."):
        camport.explain(seeded(nn.Sequential(Still(), nn.Linear(3, 3))), images(1), target=1)


def test_the_model_and_the_random_state_stay_as_they_were():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.fc = tower(), nn.Linear(6, 3)
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x):
            self.count += 1
            return self.fc(self.features(x + 0 * torch.rand(1, dtype=x.dtype)).mean((2, 3)))

    model, state = seeded(Counts()), torch.get_rng_state()
    x = images(1)
    before = x.clone()
    assert camport.explain(model, x, target=1).layers == ("features",)
    assert float(model.count) == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, before)


def test_another_picture_has_the_statistics_of_the_first():
    x = images(1, (40, 40)).float() * 3 + 2
    other = another(x)
    assert torch.allclose(other.mean((2, 3)), x.mean((2, 3)), atol=0.5)
    assert torch.equal(
        other.clamp(x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)), other
    )
    assert not torch.equal(another(torch.zeros(1, 3, 4, 4)), torch.zeros(1, 3, 4, 4))


class AttentionBranch(nn.Module):
    """An attention, known by its name, that normalises what it takes, as vit-pytorch's."""

    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).chunk(3, 2)
        return self.out((q @ k.mT).softmax(2) @ v)


class WithinBlocks(nn.Module):
    """A transformer whose blocks are pairs of branches, summed by a loop."""

    def __init__(self):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.zeros(1, 1, 8))
        pairs = [
            [AttentionBranch(), nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.GELU())]
            for _ in range(2)
        ]
        self.layers = nn.ModuleList([nn.ModuleList(pair) for pair in pairs])
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x):
        t = self.patches(x).flatten(2).mT
        t = torch.cat([self.token.expand(len(t), -1, -1), t], 1)
        for attention, forward in self.layers:
            t = attention(t) + t
            t = forward(t) + t
        return self.head(self.norm(t)[:, 0])


def test_an_attention_that_normalises_is_explained_at_its_normalisation():
    found = camport.explain(
        seeded(WithinBlocks()), torch.randn(1, 3, 32, 48, dtype=torch.float64), "gradcam", 1
    )
    assert found.layers == ("layers.1.0.norm",)


class WrittenOut(nn.Module):
    """A block of a transformer whose attention is no module, as in many a tutorial."""

    def __init__(self, fused):
        super().__init__()
        self.n1, self.qkv, self.out = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.n2, self.mlp, self.fused = (
            nn.LayerNorm(8),
            nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)),
            fused,
        )

    def forward(self, t):
        q, k, v = self.qkv(self.n1(t)).chunk(3, -1)
        if self.fused:
            seen = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            seen = (
                nn.functional.dropout(
                    (q @ k.transpose(1, 2) / 8**0.5).softmax(-1), 0.1, self.training
                )
                @ v
            )
        t = t + self.out(seen)
        return t + self.mlp(self.n2(t))


class ByHand(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.zeros(1, 1, 8))
        self.blocks = nn.Sequential(*[WrittenOut(fused) for _ in range(3)])
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x):
        t = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(
            self.norm(self.blocks(torch.cat([self.token.expand(len(x), -1, -1), t], 1)))[:, 0]
        )


@pytest.mark.parametrize("fused", [True, False])
def test_an_attention_that_is_no_module(fused):
    x = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    assert camport.explain(seeded(ByHand(fused)), x, "gradcam", target=1).layers == ("blocks.2.n1",)


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
        self.mlp, self.drop, self.head = (
            nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)),
            nn.Dropout(),
            nn.Linear(8, 5),
        )

    def forward(self, x):
        t = self.stem(x).permute(0, 2, 3, 1)
        return self.head(self.drop(t + self.mlp(self.norm(t))).square().mean((1, 2)))


def test_a_sum_of_branches_that_a_dropout_hands_on():
    x = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    assert camport.explain(seeded(ChannelsLast()), x, "gradcam", target=1).layers == ("drop",)
