"""Flips, quarter turns, transpositions, rolls and crops inside of a model,
against the same network without them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from camport.errors import DoubtWarning, LayerError
from camport.export import to_onnx
from camport.plugins.hirescam import HiResCAM
from camport.runtime import load
from tests.nets import seeded

IMAGES = torch.randn(2, 3, 64, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
METHOD = HiResCAM(relu=False)


class Inside(nn.Module):
    """A network of two convolutions with maps of 16 channels,
    behind something that moves the image about."""

    def __init__(self, move=lambda x: x):
        super().__init__()
        self.move = move
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()
        )
        self.behind, self.fc = nn.Conv2d(16, 9, 3, padding=1), nn.Linear(9, 5)

    def plain(self, x):
        return self.fc(self.behind(self.features(x)).square().mean((2, 3)))

    def forward(self, x):
        return self.plain(self.move(x))


class Patches(nn.Module):
    """Attention over 8 x 8 patches with a class token,
    behind something that moves the image about."""

    def __init__(self, move=lambda x: x):
        super().__init__()
        self.move, self.patches = move, nn.Conv2d(3, 8, 8, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.block, self.middle = nn.MultiheadAttention(8, 2, batch_first=True), nn.Identity()
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        patches = self.patches(self.move(x)).flatten(2).transpose(1, 2)
        t = torch.cat([self.token.expand(len(x), -1, -1), patches], 1)
        return self.head(self.middle(t + self.block(t, t, t)[0]).square().mean(1))


def sampled(x, rows):
    grid = F.affine_grid(
        torch.tensor([rows]).to(x).expand(len(x), 2, 3), list(x.shape), align_corners=False
    )
    return F.grid_sample(x, grid, align_corners=False)


LAST = torch.arange(47, -1, -1)
TURNS = {
    "transpose": (lambda x: x.transpose(2, 3), lambda m: m.transpose(1, 2)),
    "permute": (lambda x: x.permute(0, 1, 3, 2), lambda m: m.transpose(1, 2)),
    "einsum": (lambda x: torch.einsum("bchw->bcwh", x), lambda m: m.transpose(1, 2)),
    "mirror": (lambda x: x.flip(-1), lambda m: m.flip(2)),
    "upside down": (lambda x: torch.flip(x, [2]), lambda m: m.flip(1)),
    "quarter": (lambda x: torch.rot90(x, 1, (2, 3)), lambda m: torch.rot90(m, -1, (1, 2))),
    "half": (lambda x: torch.rot90(x, 2, (2, 3)), lambda m: torch.rot90(m, 2, (1, 2))),
    "index": (lambda x: x[..., LAST], lambda m: m.flip(2)),
    "gather": (lambda x: x.gather(3, LAST.expand(x.shape)), lambda m: m.flip(2)),
    "matrix": (lambda x: x @ torch.eye(48).flip(0).to(x), lambda m: m.flip(2)),
    "columns": (lambda x: torch.stack(x.unbind(3)[::-1], 3), lambda m: m.flip(2)),
    "places": (lambda x: x.flatten(2).flip(2).view(x.shape), lambda m: torch.rot90(m, 2, (1, 2))),
    "numpy": (
        lambda x: torch.from_numpy(x.detach().numpy()[..., ::-1].copy()),
        lambda m: m.flip(2),
    ),
    "sampled": (lambda x: sampled(x, [[-1.0, 0, 0], [0, 1, 0]]), lambda m: m.flip(2)),
}


PRODUCTS = {
    "matmul": lambda q, k, v: (q.transpose(1, 2) @ k / 4).softmax(2) @ v.transpose(1, 2),
    "bmm": lambda q, k, v: torch.bmm(v, torch.bmm(q.mT, k).softmax(2).mT).mT,
    "einsum": lambda q, k, v: torch.einsum(
        "bij,bcj->bic", torch.einsum("bci, bcj -> bij", q, k).softmax(2), v
    ),
    # a matrix of the whole image
    "linear": lambda q, k, v: q.mT.softmax(2) @ (k.softmax(2) @ v.mT),
}


class Attending(Inside):
    """Attention over a map, without a shortcut."""

    def __init__(self, product, move=lambda x: x):
        super().__init__(move)
        self.product, self.qkv = product, nn.Conv2d(16, 48, 1)

    def plain(self, x):
        x = self.features(x)
        q, k, v = self.qkv(x).flatten(2).chunk(3, 1)
        rows = self.product(q, k, v)
        return self.fc(self.behind(rows.mT.reshape(x.shape)).square().mean((2, 3)))


def shown(model, layer="features", images=IMAGES):
    return camport.explain(model, images, METHOD, 2, layer)


@pytest.mark.parametrize(("move", "back"), TURNS.values(), ids=TURNS)
def test_a_map_of_the_turned_image_is_turned_back(move, back):
    found = shown(seeded(Inside(move)))
    wanted = shown(seeded(Inside()), images=move(IMAGES).contiguous())
    assert float(wanted.raw.std()) > 0
    torch.testing.assert_close(found.raw, back(wanted.raw))
    a, g = found.activations[0], found.gradients[0]
    torch.testing.assert_close((a * g).sum(1), found.raw)


@pytest.mark.parametrize("name", ["transpose", "mirror", "upside down", "quarter"])
def test_so_are_tokens(name):
    move, back = TURNS[name]
    found = shown(seeded(Patches(move)), "middle")
    wanted = shown(seeded(Patches()), "middle", move(IMAGES).contiguous())
    assert float(wanted.raw.std()) > 0
    torch.testing.assert_close(found.raw, back(wanted.raw))


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("name", ["mirror", "quarter"])
def test_so_is_what_an_attention_of_products_puts_out(product, name):
    move, back = TURNS[name]
    found = shown(seeded(Attending(product, move)), "behind")
    wanted = shown(seeded(Attending(product)), "behind", move(IMAGES).contiguous())
    assert float(wanted.raw.std()) > 0
    torch.testing.assert_close(found.raw, back(wanted.raw))


class GlobalQueries(Inside):
    """The left and the right half look at themselves,
    asked by the same queries of the whole image (GCViT)."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Conv2d(16, 48, 1)

    def plain(self, x):
        x = self.features(x)
        halves = self.qkv(x).unflatten(3, (2, -1)).movedim(3, 1).flatten(0, 1).flatten(2)
        q = F.adaptive_avg_pool2d(self.qkv(x)[:, :16], (32, 12)).repeat_interleave(2, 0).flatten(2)
        rows = ((q.mT @ halves[:, 16:32]).softmax(2) @ halves[:, 32:].mT).mT
        looked = rows.reshape(-1, 2, 16, 32, 12).movedim(1, 3).reshape(x.shape)
        return self.fc(self.behind(x + looked).square().mean((2, 3)))


def test_what_an_attention_adds_to_a_place_leaves_it_there():
    net, kept = seeded(GlobalQueries()), []
    with net.behind.register_forward_hook(lambda module, args, output: kept.append(output)):
        y = net(IMAGES)[:, 2].sum()
    (g,) = torch.autograd.grad(y, kept[0])
    torch.testing.assert_close(shown(net, "behind").raw, (kept[0] * g).sum(1).detach())


UNMOVED = {
    "there and back": lambda x: torch.roll(torch.roll(x, 7, -1), -7, -1),
    "two flips": lambda x: x.flip(-1).sigmoid().flip(-1),
    "channels": lambda x: x.flip(1),
    "picked channels": lambda x: x[:, [2, 1, 0]],
    "one more at the end": lambda x: F.pad(x, (0, 1, 0, 1)),
    "unshuffled and shuffled": lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2),
    "in bands": lambda x: torch.cat(x.split(8, 2), 2),
    "resized": lambda x: F.interpolate(x, size=(48, 48), mode="bilinear"),
    "channels last": lambda x: x.permute(0, 2, 3, 1).tanh().permute(0, 3, 1, 2),
}


@pytest.mark.parametrize("move", UNMOVED.values(), ids=UNMOVED)
def test_what_ends_where_it_was_is_left(move):
    wanted = shown(seeded(Inside()), images=move(IMAGES).contiguous())
    torch.testing.assert_close(shown(seeded(Inside(move))).raw, wanted.raw)


class Same(nn.Module):
    """A convolution whose padding is written apart, more behind than before, as TensorFlow's."""

    def __init__(self, channels, kernel, dilation=1, mode="constant"):
        super().__init__()
        self.conv, self.mode = nn.Conv2d(channels, 16, kernel, 2, dilation=dilation), mode
        self.pad = [(kernel - 1) * dilation // 2 - 1, (kernel - 1) * dilation // 2] * 2

    def forward(self, x):
        return self.conv(F.pad(x, self.pad, self.mode))


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_padding_that_a_convolution_takes_up_moves_nothing(mode):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(
                Same(3, 5, 1, mode),
                nn.ReLU(),
                Same(16, 7, 1, mode),
                nn.ZeroPad2d((0, 1, 0, 1)),
                nn.MaxPool2d(2, 1),
            )
            self.fc = nn.Linear(16, 5)

        def forward(self, x):
            return self.fc(self.features(x).square().mean((2, 3)))

    net = seeded(Network())
    a = net.features(IMAGES).detach().requires_grad_()
    (g,) = torch.autograd.grad(net.fc(a.square().mean((2, 3)))[:, 2].sum(), a)
    torch.testing.assert_close(shown(net).raw, (a * g).sum(1).detach())


def shifted(x):
    y = torch.zeros_like(x)
    y[..., 7:] = x[..., :-7]
    return y


def copied(x):
    y = x.new_zeros(len(x), 3, 64, 68)
    y[..., 20:].copy_(x)
    return y


MOVED = {
    "copied": (copied, "copy in the forward pass"),
    "roll": (lambda x: torch.roll(x, 7, -1), "roll in the forward pass"),
    "roll up": (lambda x: torch.roll(x, -7, 2), "roll in the forward pass"),
    "crop": (
        lambda x: x[:, :, 8:56, 8:40],
        "getitem .* of 14 to 86 % of its height and 19 to 81 % of its width",
    ),
    "pad": (lambda x: F.pad(x, (0, 16, 0, 0)), "pad in the forward pass"),
    "shift": (lambda x: F.pad(x, (7, 0))[..., :-7], "pad, getitem in the forward pass"),
    "written": (shifted, "getitem, setitem in the forward pass"),
    "zoom": (lambda x: sampled(x, [[0.5, 0, 0], [0, 0.5, 0]]), "grid_sample in the forward pass"),
    "halves exchanged": (
        lambda x: torch.cat([x[..., 24:], x[..., :24]], -1),
        "getitem, cat in the forward pass",
    ),
    "blocks exchanged": (
        lambda x: x.unflatten(3, (2, 24)).flip(3).flatten(3),
        "unflatten, flip, flatten",
    ),
    "blocks mirrored": (
        lambda x: x.unflatten(2, (4, 16)).flip(3).flatten(2, 3),
        "unflatten, flip, flatten",
    ),
    "four blocks": (lambda x: x.unflatten(2, (4, 16))[:, :, [1, 0, 3, 2]].flatten(2, 3), "getitem"),
    "halves by fftshift": (
        lambda x: torch.fft.fftshift(x, 3),
        "one half of them does not answer to that half",
    ),
    "rolled by a matrix": (
        lambda x: x @ torch.eye(48).roll(24, 1).to(x),
        "one half of them does not answer to that",
    ),
    "height of channels": (lambda x: x.permute(0, 2, 1, 3)[:, :3].repeat(1, 1, 16, 1), "permute"),
    "both": (lambda x: x + x.flip(-1), "made of the image and of the same image mirrored"),
    "both as channels": (
        lambda x: torch.cat([x, x.flip(2)], 1)[:, 1:4],
        "made of the image and of the same image",
    ),
}


@pytest.mark.parametrize(("move", "said"), MOVED.values(), ids=MOVED)
def test_what_no_turn_puts_back_is_refused(move, said):
    with pytest.raises(LayerError, match=said):
        shown(seeded(Inside(move)))


def upright(x):
    return x.transpose(2, 3) if x.shape[2] > x.shape[3] else x


def padded(x):
    return F.pad(x, (0, -x.shape[3] % 32, 0, -x.shape[2] % 32))


WIDE = torch.randn(2, 3, 32, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("sizes", [(IMAGES, WIDE), (WIDE, IMAGES), (IMAGES, WIDE, IMAGES)])
def test_images_of_another_size_are_followed_anew(sizes):
    net, plain = seeded(Inside(upright)), seeded(Inside())
    bound = camport.bind(net, METHOD, "features")
    for x in sizes:
        wanted = shown(plain, images=upright(x).contiguous()).raw
        torch.testing.assert_close(bound(x, 2).raw, wanted.mT if x is IMAGES else wanted)


def test_images_of_a_size_that_is_padded_inside_are_refused_behind_others():
    bound = camport.bind(seeded(Inside(padded)), METHOD, "features")
    bound(WIDE, 2)
    with pytest.raises(LayerError, match="pad in the forward pass"):
        bound(WIDE[..., :36], 2)
    bound(WIDE, 2)


def test_a_file_is_of_the_size_that_it_is_made_of(tmp_path):
    net = seeded(Inside(upright)).float()
    bound = camport.bind(net, METHOD, "features")
    bound(WIDE.float(), 2)
    to_onnx(bound, tmp_path / "x.onnx", IMAGES.float())
    expected = camport.explain(net, IMAGES.float(), METHOD, 2, "features")
    assert (
        abs(
            load(tmp_path / "x.onnx")(IMAGES.float().numpy(), target=2).heatmap
            - expected.heatmap.numpy()
        ).max()
        < 1e-5
    )


class LooksLeft(Inside):
    """Images whose right half is lighter are mirrored first."""

    def forward(self, x):
        halves = x.mean((1, 2)).unflatten(1, (2, -1)).mean(2)
        return self.plain(
            torch.stack([v.flip(2) if h[1] > h[0] else v for v, h in zip(x, halves, strict=True)])
        )


def test_the_first_image_does_not_decide_for_the_others():
    light = torch.linspace(-1, 1, 48, dtype=torch.float64)
    x = IMAGES + torch.stack([-light, light])[:, None, None]
    with pytest.warns(DoubtWarning, match="moves the places of some images and not of others"):
        found = camport.explain(seeded(LooksLeft()), x, METHOD, 2)
    flipped = torch.stack([x[0], x[1].flip(2)])
    plain = camport.explain(seeded(Inside()), flipped, METHOD, 2).raw
    assert torch.allclose(found.raw, torch.stack([plain[0], plain[1].flip(1)]), rtol=0, atol=1e-9)


class Augmented(Inside):
    """The sum of the scores of an image and of the same one mirrored."""

    def forward(self, x):
        return self.plain(x) + self.plain(x.flip(-1))


def test_each_run_on_an_augmented_image_is_put_back():
    plain, net = seeded(Inside()), seeded(Augmented())
    own, mirrored = shown(plain).raw, shown(plain, images=IMAGES.flip(-1)).raw.flip(2)
    torch.testing.assert_close(shown(net, "features@0").raw, own)
    torch.testing.assert_close(shown(net, "features@1").raw, mirrored)
    with pytest.warns(camport.errors.ReusedLayerWarning):
        torch.testing.assert_close(shown(net).raw, mirrored)


class Crops(Inside):
    """The mean over the corners and the middle."""

    def forward(self, x):
        parts = [
            x[..., i : i + 48, j : j + 36] for i, j in ((0, 0), (0, 12), (16, 0), (16, 12), (8, 6))
        ]
        return torch.stack([self.plain(part) for part in parts]).mean(0)


def test_a_run_on_a_crop_is_refused():
    with pytest.raises(LayerError, match=r"'features@4' puts out .* of 14 to 86 % of its height"):
        shown(seeded(Crops()), "features@4")


def test_a_layer_behind_the_join_is_refused():
    class Joined(Inside):
        def forward(self, x):
            return self.fc(self.behind(self.features(x) + self.features(x.flip(-1))).mean((2, 3)))

    with pytest.raises(LayerError, match=r"'behind' puts out .* \(flip in the forward pass\)"):
        shown(seeded(Joined()), "behind")


def test_one_block_that_runs_twice_stays_as_it_is():
    class Twice(Inside):
        def forward(self, x):
            return self.fc(
                self.features[2:](self.features(x)).square().mean((2, 3)) @ torch.ones(16, 9).to(x)
            )

    net = seeded(Twice())
    kept = []
    with net.features[2].register_forward_hook(lambda module, args, output: kept.append(output)):
        y = net(IMAGES)[:, 2].sum()
    (g,) = torch.autograd.grad(y, kept[1])
    torch.testing.assert_close(shown(net, "features.2@1").raw, (kept[1] * g).sum(1).detach())


@pytest.mark.parametrize("name", ["transpose", "mirror"])
def test_the_layer_that_is_chosen_is_turned_back_too(name):
    move, back = TURNS[name]
    found, wanted = (
        camport.explain(seeded(net), images, METHOD, 2)
        for net, images in ((Inside(move), IMAGES), (Inside(), move(IMAGES).contiguous()))
    )
    assert found.layers == wanted.layers
    assert float(wanted.raw.std()) > 0
    torch.testing.assert_close(found.raw, back(wanted.raw))


def test_a_layer_that_is_no_map_for_its_places_is_not_chosen():
    class Joined(Inside):
        def forward(self, x):
            return self.fc(self.behind(self.features(x) + self.features(x.flip(-1))).mean((2, 3)))

    with pytest.warns(camport.errors.ReusedLayerWarning):
        assert camport.explain(seeded(Joined()), IMAGES, METHOD, 2).layers[0].startswith("features")
