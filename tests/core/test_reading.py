"""Where the channels and the places of a layer's output are,
against autograd on the layout that is known."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from camport.errors import LayerError, MethodError
from camport.plugins.hirescam import HiResCAM
from tests.nets import TokenBlock, seeded


def noise(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def right(model, x, layer, to_maps=lambda a: a, target=1, run=-1):
    """Activations and their gradient by a hook and autograd,
    which `to_maps` lays out as [b,c,h,w]."""
    kept = []
    with model.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o)):
        score = model(x)[:, target].sum()
    a = kept[run]
    return to_maps(a).detach(), to_maps(torch.autograd.grad(score, a)[0])


def assert_right(model, x, layer, to_maps=lambda a: a, name=None, run=-1):
    explanation = camport.explain(model, x, HiResCAM(relu=False), 1, name or layer)
    a, g = right(model, x, layer, to_maps, run=run)
    wanted = (a * g).sum(1)
    assert tuple(explanation.raw.shape) == tuple(wanted.shape)
    assert float(wanted.abs().max()) > 0
    assert float((explanation.raw - wanted).norm()) < 1e-4 * float(wanted.norm())
    assert torch.allclose(explanation.activations[0].double(), a.double(), rtol=1e-4, atol=1e-5)
    return explanation


class Between(nn.Module):
    """A convolution, some module that leaves the shape, and a head,
    with channels as many as a side of the maps."""

    def __init__(self, middle, channels=16, stride=4, head=True):
        super().__init__()
        self.stem, self.middle = nn.Conv2d(3, channels, 3, stride, 1), middle
        self.behind = nn.Conv2d(channels, 9, 3, padding=1) if head else nn.Identity()
        self.fc = nn.Linear(9 if head else channels, 5)

    def forward(self, x):
        return self.fc(self.behind(self.middle(self.stem(x))).square().mean((2, 3)))


class Norm2d(nn.LayerNorm):
    """As torchvision's and timm's: channels first, normalised last."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Permuted(nn.Module):
    """A ConvNeXt block: channels first outside, channels last for its linear layers."""

    def __init__(self, width):
        super().__init__()
        self.dw, self.norm = (
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.LayerNorm(width),
        )
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        y = self.down(F.gelu(self.up(self.norm(self.dw(x).permute(0, 2, 3, 1)))))
        return x + y.permute(0, 3, 1, 2)


class Written(nn.Module):
    """A convolution whose kernel is a bare parameter, so that no module tells its width."""

    def __init__(self, channels, out):
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(out, channels, 3, 3))

    def forward(self, x):
        return F.conv2d(x, self.kernel, padding=1).tanh()


@pytest.mark.parametrize("size", [(64, 128), (128, 64), (64, 64), (48, 64)])
@pytest.mark.parametrize(
    "middle",
    [
        nn.ReLU,
        nn.SiLU,
        nn.Identity,
        lambda: nn.Dropout2d(0.5),
        lambda: Norm2d(16),
        lambda: Permuted(16),
    ],
    ids=["relu", "silu", "identity", "dropout2d", "norm2d", "convnext"],
)
def test_channels_as_many_as_a_side(middle, size):
    model = seeded(Between(middle()))
    assert_right(model, noise(2, 3, *size), "middle")


def test_convolutions_of_bare_parameters():
    model = seeded(Between(nn.Sequential(Written(16, 24), nn.ReLU(), Written(24, 16), nn.ReLU())))
    for layer in ("middle.1", "middle.3", "middle"):
        assert_right(model, noise(2, 3, 64, 64), layer)


@pytest.mark.parametrize(
    "middle", [nn.ReLU, lambda: nn.MaxPool2d(3, 1, 1)], ids=["relu", "maxpool"]
)
def test_other_strides_down_than_across(middle):
    # 64 x 64 -> 16 x 32 with 16 channels: by the aspect alone 16 x 16 with 32
    assert_right(seeded(Between(middle(), 16, (4, 2))), noise(2, 3, 64, 64), "middle")


class Last(nn.Module):
    """Swin-like: channels last from the patches on."""

    def __init__(self, width, block):
        super().__init__()
        self.patches, self.norm, self.block, self.act = (
            nn.Conv2d(3, width, 4, 4),
            nn.LayerNorm(width),
            block,
            nn.Identity(),
        )
        self.fc = nn.Linear(width, 5)

    def forward(self, x):
        y = self.norm(self.patches(x).permute(0, 2, 3, 1))
        return self.fc(self.act(y + self.block(y)).square().mean((1, 2)))


@pytest.mark.parametrize("size", [(64, 128), (128, 64), (64, 64), (32, 64)])
def test_channels_last_as_many_as_a_side(size):
    block = nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16))
    model = seeded(Last(16, block))
    for layer in ("norm", "block", "block.1", "act"):
        assert_right(model, noise(2, 3, *size), layer, lambda a: a.permute(0, 3, 1, 2))


def test_the_layer_that_is_chosen_is_read_rightly():
    class Spectrogram(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act, self.fc = nn.Conv2d(1, 16, 3, 4, 1), nn.ReLU(), nn.Linear(16, 5)

        def forward(self, x):
            return self.fc(self.act(self.conv(x)).mean((2, 3)))

    model, x = seeded(Spectrogram()), noise(2, 1, 64, 128)
    assert camport.explain(model, x, "gradcam", 1).layers == ("act",)
    assert tuple(camport.explain(model, x, "gradcam", 1).activations[0].shape) == (2, 16, 16, 32)


@pytest.mark.parametrize(
    ("size", "layer", "run"), [((128, 160), "relu", -1), ((128, 96), "layer1.0.relu", 1)]
)
def test_resnet18_with_sides_as_many_as_channels(size, layer, run):
    import torchvision

    model, x = torchvision.models.resnet18(num_classes=4).eval(), noise(1, 3, *size).float()
    assert_right(model, x, layer, name=layer if run == -1 else f"{layer}@{run}", run=run)


class Signal(nn.Module):
    """Convolutions over [b,c,L] behind a wrapper of images one pixel high."""

    def __init__(self, width=12):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(2, width, 7, 4, 3),
            nn.ReLU(),
            nn.BatchNorm1d(width),
            nn.MaxPool1d(3, 1, 1),
            nn.SiLU(),
        )
        self.fc = nn.Linear(width, 3)

    def forward(self, x):
        return self.fc(self.body(x[:, :, 0]).mean(2))


@pytest.mark.parametrize("width", [5, 12, 16, 32])
def test_a_signal_is_no_row_of_tokens(width):
    model, x = seeded(Signal(width)), noise(2, 2, 1, 128)
    for layer in ("body.0", "body.1", "body.2", "body.3", "body.4", "body"):
        assert_right(model, x, layer, lambda a: a[:, :, None])
    assert camport.explain(model, x, "eigencam", 1).raw.shape == (2, 1, 32)


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 12, (1, 7), (1, 4), (0, 3)), nn.ReLU())
        self.fc = nn.Linear(12, 3)

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))


def test_maps_one_pixel_high_are_chosen_and_right():
    model, x = seeded(Line()), noise(2, 2, 1, 128)
    assert camport.explain(model, x, "eigencam", 1).layers == ("body",)
    assert assert_right(model, x, "body").raw.shape == (2, 1, 32)


class Rows(nn.Module):
    """Convolutions whose height is folded away, then a recurrent network along the width:
    [b,w,c] or [w,b,c]."""

    def __init__(self, batch_first):
        super().__init__()
        self.batch_first = batch_first
        self.conv, self.rnn = nn.Conv2d(3, 6, (16, 4), 4), nn.GRU(6, 5, batch_first=batch_first)
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        y = self.conv(x)[:, :, 0].permute((0, 2, 1) if self.batch_first else (2, 0, 1))
        return self.fc(self.rnn(y)[0].mean(1 if self.batch_first else 0))


def test_a_row_of_tokens_along_the_width():
    model, x = seeded(Rows(True)), noise(2, 3, 16, 80)
    explanation = camport.explain(model, x, "eigencam", 1, "rnn")
    activations = model.rnn(model.conv(x)[:, :, 0].permute(0, 2, 1))[0].detach()
    assert torch.allclose(
        explanation.activations[0].double(), activations.transpose(1, 2)[:, :, None], atol=1e-5
    )
    with pytest.raises(
        LayerError,
        match=r"'rnn' puts out \(20, 2, 5\) for 2 images: its tokens come before its images",
    ):
        camport.explain(seeded(Rows(False)), x, "gradcam", 1, "rnn")


class Folded(nn.Module):
    """Places folded into one axis behind the channels, [b,c,h*w]."""

    def __init__(self, width=6):
        super().__init__()
        self.stem, self.mix, self.act = (
            nn.Conv2d(3, width, 4, 4),
            nn.Conv1d(width, width, 1),
            nn.ReLU(),
        )
        self.fc = nn.Linear(width, 3)

    def forward(self, x):
        return self.fc(self.act(self.mix(self.stem(x).flatten(2))).mean(2))


@pytest.mark.parametrize("width", [6, 24, 16])
def test_places_folded_behind_the_channels(width):
    model, x = seeded(Folded(width)), noise(2, 3, 16, 24)
    for layer in ("mix", "act"):
        assert_right(model, x, layer, lambda a: a.unflatten(2, (4, 6)))


class Units(nn.Module):
    """Patches in the order of units of 2 x 2 patches, as Hiera's;
    or the units an axis of their own, as NesT's."""

    def __init__(self, axis=False, width=8):
        super().__init__()
        self.axis = axis
        self.patches, self.block = (
            nn.Conv2d(3, width, 4, 4),
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width)),
        )
        self.attn, self.fc = nn.MultiheadAttention(width, 2, batch_first=True), nn.Linear(width, 3)

    def forward(self, x):
        y = self.patches(x)
        b, c, h, w = y.shape
        y = y.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, 4, c)
        y = self.block(y if self.axis else y.flatten(1, 2))
        if not self.axis:
            y = self.attn(y, y, y, need_weights=False)[0]
        return self.fc(y.flatten(1, -2).mean(1))


@pytest.mark.parametrize("layer", ["block", "block.0", "attn"])
@pytest.mark.parametrize("size", [(32, 32), (16, 16), (32, 48)])
def test_tokens_in_the_order_of_units_are_refused(layer, size):
    for axis in (False, True)[: 1 if layer == "attn" else 2]:
        with pytest.raises(
            LayerError,
            match=rf"layer '{layer}' puts out .*places do not lie on the image.*choose a layer",
        ):
            camport.explain(seeded(Units(axis)), noise(2, 3, *size), "hirescam", 1, layer)


@pytest.mark.parametrize("method", ["attention_rollout", "legrad"])
def test_attention_among_tokens_in_the_order_of_units_is_refused(method):
    with pytest.raises(
        MethodError,
        match=r"Ordered attends among 64 tokens that are not in the order of the image's rows",
    ):
        camport.explain(seeded(Ordered(Units)), noise(2, 3, 32, 32), method, 1)
    assert camport.explain(seeded(Ordered(First)), noise(2, 3, 32, 32), method, 1).raw.shape == (
        2,
        8,
        8,
    )


@pytest.mark.parametrize(
    ("name", "layer"), [("hiera", "blocks.0.norm1"), ("nest", "levels.0.transformer_encoder.0")]
)
def test_hiera_and_nest_are_refused_inside_and_right_at_the_end(name, layer):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    if name == "hiera":
        model = timm.models.hiera.Hiera(
            (64, 64), embed_dim=8, num_heads=1, stages=(1, 1, 1), q_pool=2, num_classes=3
        )
        last = "blocks.2"
    else:
        model = timm.models.nest.Nest(
            64,
            patch_size=4,
            num_levels=2,
            embed_dims=(8, 16),
            num_heads=(1, 2),
            depths=(1, 1),
            num_classes=3,
        )
        last = "norm"
    model, x = model.double().eval(), noise(1, 3, 64, 64)
    with pytest.raises(LayerError, match=r"places do not lie on the image"):
        camport.explain(model, x, "gradcam", 1, layer)
    explanation = camport.explain(model, x, "eigencam", 1, last)
    y = x.clone()
    y[:, :, 40:48, 16:24] += 3
    moved = (
        (camport.explain(model, y, "eigencam", 1, last).activations[0] - explanation.activations[0])
        .abs()
        .sum(1)[0]
    )
    place = int(moved.argmax())
    assert abs((place // moved.shape[1] + 0.5) / moved.shape[0] - 44 / 64) <= 1 / moved.shape[0]
    assert abs((place % moved.shape[1] + 0.5) / moved.shape[1] - 20 / 64) <= 1 / moved.shape[1]


class First(nn.Module):
    """CLIP's original vision transformer: tokens before images inside."""

    def __init__(self, width=8):
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, width, 4, 4), nn.Parameter(torch.zeros(1, 1, width))
        self.pre, self.attn = nn.LayerNorm(width), nn.MultiheadAttention(width, 2)
        self.block, self.post, self.fc = (
            nn.LayerNorm(width),
            nn.LayerNorm(width),
            nn.Linear(width, 3),
        )

    def forward(self, x):
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = self.pre(torch.cat([self.token.expand(len(x), -1, -1), y], 1)).transpose(0, 1)
        z = self.block(y)
        y = y + self.attn(z, z, z, need_weights=False)[0]
        return self.fc(self.post(y.transpose(0, 1))[:, 0])


# a norm sees no length: products cancel
@pytest.mark.filterwarnings("ignore::camport.errors.GuardWarning")
@pytest.mark.parametrize("b", [1, 3, 17])
def test_tokens_before_images_are_told_from_images(b):
    model, x = seeded(First()), noise(b, 3, 16, 16)
    with pytest.raises(
        LayerError, match=r"layer 'block' puts out \(17, .*its tokens come before its images"
    ):
        camport.explain(model, x, "gradcam", 1, "block")
    assert_right(model, x, "pre", lambda a: a[:, 1:].transpose(1, 2).unflatten(2, (4, 4)))


class Ordered(nn.Module):
    """One block of a vision transformer over patches in the order of units,
    or of the image's rows."""

    def __init__(self, units, width=8):
        super().__init__()
        self.units, self.patches = units is Units, nn.Conv2d(3, width, 4, 4)
        self.block, self.fc = TokenBlock(width), nn.Linear(width, 3)

    def forward(self, x):
        y = self.patches(x)
        b, c, h, w = y.shape
        if self.units:
            y = y.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 1, 2, 4, 3, 5)
        return self.fc(self.block(y.flatten(2).transpose(1, 2)).square().mean(1))


def test_windows_are_no_images():
    class Windows(Units):
        def forward(self, x):
            y = (
                self.patches(x)
                .unfold(2, 2, 2)
                .unfold(3, 2, 2)
                .permute(0, 2, 3, 4, 5, 1)
                .flatten(3, 4)
            )
            return self.fc(self.block(y.flatten(0, 2)).unflatten(0, y.shape[:3]).mean((1, 2, 3)))

    with pytest.raises(
        LayerError, match=r"'block' puts out \(32, 4, 8\) for 2 images: .*not a row for each image"
    ):
        camport.explain(seeded(Windows()), noise(2, 3, 32, 32), "gradcam", 1, "block")


def test_an_output_that_does_not_answer_to_the_image_is_read_as_its_neighbour():
    class Mixed(nn.Module):
        """Each channel is averaged over the places, in waves:
        no half answers more to its own half."""

        def forward(self, x):
            return x.mean((2, 3), keepdim=True) + torch.arange(x.shape[3]).sin() + 0 * x

    model = seeded(Between(nn.Sequential(nn.ReLU(), Mixed())))
    explanation = camport.explain(model, noise(2, 3, 64, 128), "eigencam", 1, "middle.1")
    assert tuple(explanation.activations[0].shape) == (2, 16, 16, 32)


# where the channels are is the question
@pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")
def test_rounding_is_no_answer():
    """Of features that hardly depend on the image what moves may be rounding, wherever that lies:
    not evidence."""

    class Hardly(nn.Module):
        def forward(self, x):
            return 1 + 1e-7 * x.flip(3)

    # the maps have not the image's aspect
    model = seeded(nn.Sequential(nn.Upsample((64, 64)), Between(Hardly(), 12)))
    explanation = camport.explain(model, noise(1, 3, 20, 64), "eigencam", 1, "1.middle")
    assert tuple(explanation.activations[0].shape) == (1, 12, 16, 16)


def test_what_nothing_tells_is_refused():
    class Still(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.fc = nn.Identity(), nn.Linear(16, 3)

        def forward(self, x):
            return self.fc(
                self.inner(x.mean((1, 2, 3))[:, None, None, None].expand(-1, 16, 16, 16)).mean(
                    (2, 3)
                )
            )

    with pytest.raises(
        LayerError,
        match=r"\(2, 16, 16, 16\), and neither the model nor .* which axis has the channels",
    ):
        camport.explain(seeded(Still()), noise(2, 3, 64, 64), "gradcam", 1, "inner")


def test_settled_once_and_never_for_ordinary_layers():
    class Counted(Between):
        passes = 0

        def forward(self, x):
            type(self).passes += 1
            return super().forward(x)

    # two of them ask whether the images of a batch are mixed
    for size, first in (((64, 80), 3), ((64, 64), 5)):
        Counted.passes = 0
        bound = camport.bind(seeded(Counted(nn.ReLU())), "gradcam", "middle")
        bound(noise(2, 3, *size), 1)
        assert Counted.passes == first
        bound(noise(2, 3, *size, seed=2), 1)
        bound(noise(1, 3, 96, 64), 1)
        assert Counted.passes == first + 2


def test_the_exported_file_reads_as_pytorch_does(tmp_path):
    import onnxruntime

    from camport.export import to_onnx

    model, x = seeded(Between(nn.ReLU()), dtype=torch.float32), noise(2, 3, 64, 64).float()
    bound = camport.bind(model, "gradcam", "middle")
    to_onnx(bound, tmp_path / "m.onnx", x, dynamic="batch+size")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    other = noise(1, 3, 64, 128, seed=3).float()
    names = [output.name for output in session.get_outputs()]
    given = {"images": other.numpy(), "target": torch.tensor([1]).numpy()}
    found = dict(zip(names, session.run(None, given), strict=True))
    assert found["feature_maps"].shape == (1, 16, 16, 32)
    wanted = camport.explain(model, other, "gradcam", 1, "middle")
    assert torch.allclose(torch.from_numpy(found["heatmap"]), wanted.heatmap, atol=1e-5)
