"""Networks whose parts leave tensors in attributes, or keep them by hooks,
and read them elsewhere in the forward."""

import pytest
import torch
from torch import nn

import camport
from camport.export import to_onnx
from tests.nets import seeded

IMAGES = torch.randn(3, 3, 12, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


class Plain(nn.Module):
    """Encoder, middle and head; what the encoder's first half makes is multiplied in again."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.Tanh(), nn.Conv2d(6, 6, 3, 1, 1))
        self.middle = nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1), nn.ReLU())
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        skipped = self.encoder[:2](x)
        return self.head((self.middle(self.encoder[2](skipped)) ** 2 * skipped).mean((2, 3)))


class ByHooks(Plain):
    """Hooks on the last modules within two containers keep what these put out."""

    def __init__(self):
        super().__init__()
        self.kept = {}
        self.encoder[1].register_forward_hook(
            lambda module, args, output: self.kept.update(skipped=output)
        )
        self.middle[1].register_forward_hook(self.keep)

    def keep(self, module, args, output):
        self.last = output

    def forward(self, x):
        self.middle(self.encoder(x))
        return self.head((self.last**2 * self.kept["skipped"]).mean((2, 3)))


class Keeping(nn.ReLU):
    def forward(self, x):
        self.last = super().forward(x)
        return self.last


class ByAttributes(Plain):
    """Parts within leave what they put out in attributes."""

    def __init__(self):
        super().__init__()
        self.middle[1] = Keeping()
        self.encoder = Encoder(self.encoder)

    def forward(self, x):
        self.middle(self.encoder(x))
        return self.head((self.middle[1].last ** 2 * self.encoder.skipped).mean((2, 3)))


class Encoder(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x):
        self.skipped = self.layers[:2](x)
        return self.layers[2](self.skipped)


KINDS = [ByHooks, ByAttributes]


def pair(kind):
    """The network, and the same that keeps nothing."""
    return seeded(kind()), seeded(Plain())


def gradcam(plain, images, target):
    """L = ReLU(sum_k mean(G_k) A_k) at the middle."""
    skipped = plain.encoder[:2](images)
    a = plain.middle(plain.encoder[2](skipped)).detach().requires_grad_()
    (g,) = torch.autograd.grad(plain.head((a**2 * skipped).mean((2, 3)))[:, target].sum(), a)
    return (g.mean((2, 3), keepdim=True) * a).sum(1).relu().detach()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", ["middle", "middle.1"])
def test_what_is_kept_of_a_layers_output_is_on_the_way_to_the_score(kind, layer):
    model, plain = pair(kind)
    torch.testing.assert_close(
        camport.explain(model, IMAGES, "gradcam", 2, layer).raw, gradcam(plain, IMAGES, 2)
    )


def test_the_layer_that_is_chosen_may_have_its_output_kept_by_a_module_within():
    class Net(Plain):
        def __init__(self):
            super().__init__()
            self.encoder[2].register_forward_hook(
                lambda module, args, output: setattr(self, "last", output)
            )

        def forward(self, x):
            self.encoder(x)
            return self.head((self.last**2).mean((2, 3)))

    net = seeded(Net())
    a, row = net.encoder(IMAGES), net.head.weight[2][:, None, None]
    wanted = (row * 2 * a.mean((2, 3), keepdim=True) / a[0, 0].numel() * a).sum(1).relu().detach()
    found = camport.explain(net, IMAGES, "gradcam", 2)
    assert found.layers == ("encoder",)
    torch.testing.assert_close(found.raw, wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["ablationcam", "reciprocam"])
def test_what_lies_behind_a_layer_takes_what_is_kept_of_its_own_image(kind, method):
    model, plain = pair(kind)
    found, wanted = (camport.explain(m, IMAGES, method, 2, "middle").raw for m in (model, plain))
    assert wanted.abs().amax() > 0
    torch.testing.assert_close(found, wanted)


def test_a_layer_that_hands_on_its_argument_is_not_the_one_who_made_it():
    """The block's output goes round the identity too, and that way is not the identity's."""

    class Net(Plain):
        def __init__(self):
            super().__init__()
            self.same = nn.Identity()

        def forward(self, x):
            a = self.encoder(x)
            return self.head((self.same(a) + 3 * a**2).mean((2, 3)))

    net = seeded(Net())
    a, row = net.encoder(IMAGES), net.head.weight[2]
    places = a.shape[2] * a.shape[3]
    wanted = (row[:, None, None] / places * a).sum(1).relu().detach()
    torch.testing.assert_close(camport.explain(net, IMAGES, "gradcam", 2, "same").raw, wanted)


def test_a_layer_that_hands_on_its_argument_leaves_the_way_to_layers_before_it():
    """Fusion by sum of a layer and an identity behind it: both maps are the one map."""
    net = seeded(Plain())
    net.middle.append(nn.Identity())
    found = camport.explain(net, IMAGES, "gradcam", 2, ["middle.1", "middle.2"])
    for gradient in found.gradients:
        torch.testing.assert_close(gradient, found.gradients[0])
        assert gradient.abs().amax() > 0


@pytest.mark.everything
def test_it_is_exported(tmp_path):
    model, plain = pair(ByHooks)
    bound = camport.bind(model.float(), "ablationcam", "middle", chunk=4)
    to_onnx(bound, tmp_path / "a.onnx", IMAGES.float())  # compared with PyTorch
    found = camport.runtime.load(tmp_path / "a.onnx")(IMAGES.float().numpy(), target=[2, 2, 2])
    wanted = camport.explain(plain.float(), IMAGES.float(), "ablationcam", 2, "middle")
    torch.testing.assert_close(
        torch.from_numpy(found.heatmap), wanted.heatmap, rtol=1e-4, atol=1e-5
    )
