import pytest
import torch
import torchvision
from torch import nn

import camport
from camport.adapters import ClassificationAdapter
from camport.core.maps.token_grid import find_grid
from camport.errors import LayerError
from tests.nets import Net, images, seeded

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")  # random networks


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("resnet18", "layer4", (512, 2, 2)),
        ("vgg11", "features.19", (512, 4, 4)),
        ("mobilenet_v3_small", "features", (576, 2, 2)),
        ("densenet121", "features", (1024, 2, 2)),
        ("squeezenet1_1", "classifier.2", (1000, 3, 3)),
        ("shufflenet_v2_x0_5", "conv5", (1024, 2, 2)),
        ("swin_t", "norm", (768, 2, 2)),
        ("convnext_tiny", "features", (768, 2, 2)),
    ],
)
def test_automatic_choice_on_torchvision(name, layer, shape):
    model = getattr(torchvision.models, name)().eval()
    explanation = camport.explain(model, torch.randn(1, 3, 64, 64), "feature_maps")
    assert explanation.layers == (layer,)
    assert tuple(explanation.activations[0].shape[1:]) == shape


def test_vit_takes_the_norm_before_the_last_attention_and_drops_the_class_token():
    model = torchvision.models.VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=5).eval()
    nn.init.normal_(model.heads.head.weight)
    x = torch.randn(2, 3, 32, 32)
    explanation = camport.explain(model, x, "gradcam")
    assert explanation.layers == ("encoder.layers.encoder_layer_2.ln_1",)
    assert tuple(explanation.gradients[0].shape) == (2, 16, 4, 4)
    assert bool(explanation.gradients[0].any())
    tokens = []
    handle = model.encoder.layers.encoder_layer_2.ln_1.register_forward_hook(
        lambda m, i, o: tokens.append(o)
    )
    model(x)
    handle.remove()
    # row by row, the class token left out
    assert torch.allclose(
        explanation.activations[0][:, :, 1, 2], tokens[0][:, 1 + 4 + 2], atol=1e-6
    )


def test_behind_the_last_attention_patch_tokens_have_no_gradient():
    model = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5).eval()
    nn.init.normal_(model.heads.head.weight)
    with pytest.warns(camport.errors.FlatMapWarning, match=r"dead gradient"):
        camport.explain(
            model, torch.randn(1, 3, 32, 32), "gradcam", layer="encoder.layers.encoder_layer_1.mlp"
        )


def test_rectangular_tokens_and_registers():
    class Tokens(nn.Module):
        def __init__(self, prefix):
            super().__init__()
            self.patch, self.block, self.prefix = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6), prefix
            self.fc = nn.Linear(6, 3)

        def forward(self, x):
            t = self.patch(x).flatten(2).transpose(1, 2)
            t = torch.cat([t.new_zeros(len(t), self.prefix, 6), t], 1)
            return self.fc(self.block(t).mean(1))

    for prefix in (0, 1, 2, 5):
        explanation = camport.explain(
            seeded(Tokens(prefix)), images(2, (16, 24)), "hirescam", 1, "block"
        )
        assert tuple(explanation.activations[0].shape) == (2, 6, 4, 6)


def test_layout_is_read_where_shapes_do_not_say_it():
    model = seeded(Net(), dtype=torch.float32)
    cube = torch.zeros(2, 6, 6, 6)
    assert find_grid(cube, (12, 12), model, nn.LayerNorm(6), "n").layout == "nhwc"
    assert find_grid(cube, (12, 12), model, nn.Conv2d(3, 6, 1), "n").layout == "nchw"
    assert find_grid(torch.zeros(1, 7, 7, 9), (14, 14), model, nn.Identity(), "n").layout == "nhwc"


def test_tokens_that_fit_no_grid():
    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.fc = nn.Identity(), nn.Linear(5, 2)

        def forward(self, x):
            return self.fc(self.inner(x.mean((1, 2, 3))[:, None, None].expand(-1, 37, 5)).mean(1))

    with pytest.raises(
        LayerError, match=r"37 tokens, which fit no grid over an image of 14x18.*patch_grid"
    ):
        camport.explain(seeded(Strange()), images(), "gradcam", 1, "inner")
    adapter = ClassificationAdapter(patch_grid=(4, 9))
    explanation = camport.explain(seeded(Strange()), images(), "gradcam", 1, "inner", adapter)
    assert tuple(explanation.activations[0].shape) == (3, 5, 4, 9)


def test_grid_goes_both_ways():
    model = seeded(Net(), dtype=torch.float32)
    for activation, module in (
        (torch.randn(2, 5, 3, 4), nn.Conv2d(3, 5, 1)),
        (torch.randn(2, 3, 4, 5), nn.LayerNorm(5)),
    ):
        grid = find_grid(activation, (12, 16), model, module, "x")
        maps = grid.to_maps(activation)
        assert tuple(maps.shape) == (2, 5, 3, 4)
        assert torch.equal(grid.from_maps(maps, activation), activation)
    patches = nn.Sequential(nn.Conv2d(3, 5, 4, 4))
    tokens = torch.randn(2, 13, 5)
    grid = find_grid(tokens, (12, 16), patches, nn.Identity(), "x")
    assert (grid.prefix, grid.size) == (1, (3, 4))
    assert torch.equal(grid.from_maps(grid.to_maps(tokens), tokens), tokens)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("feature", "no layer 'feature' in Net; nearest: .*features"),
        ("nothing.like.it", "no layer 'nothing.like.it' in Net"),
        ([], "list of target layers is empty"),
        ("features@last", "number of a run"),
        ("head.5", r"puts out \(3, 5\), which is no map"),
    ],
)
def test_wrong_layers_are_said(layer, says):
    with pytest.raises(LayerError, match=says):
        camport.explain(seeded(Net()), images(), target=1, layer=layer)


def test_no_map_anywhere():
    model = seeded(nn.Sequential(nn.Flatten(), nn.Linear(3 * 14 * 18, 4)))
    with pytest.raises(LayerError, match=r"no target layer can be chosen"):
        camport.explain(model, images())
    assert camport.explain(model, images(), "saliency").layers == ()
