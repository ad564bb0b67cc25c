"""Exported captioners, answerers and segmentations: what they are asked is an input of the file."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import camport
from camport.adapters import SegmentationAdapter
from camport.errors import ExportError
from camport.export import to_onnx
from camport.runtime import load
from tests.marks import rare

pytestmark = [
    pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning"),
    pytest.mark.filterwarnings("ignore::camport.errors.GuardWarning"),
]


def agree(file, bound, images, target):
    """The file, asked by the names of its inputs, gives what eager PyTorch gives."""
    eager = bound(images, target)
    given = {k: v.numpy() for k, v in bound._prepared(target, images).items()}
    edge = load(file)(images.numpy(), **given)
    assert np.abs(edge.score - eager.score.numpy()).max() <= 1e-4 * float(eager.score.abs().max())
    assert np.abs(edge.heatmap - eager.heatmap.numpy()).max() <= 1e-3
    assert np.abs(edge.gradients - eager.gradients[0].numpy()).max() <= 1e-3 * float(
        eager.gradients[0].abs().max()
    )


# --- transformers ----------------------------------------------------------------------------------------------------

OTHER = {
    "captioning": lambda target: {
        "tokens": torch.tensor(
            [[*target["tokens"][:-3], 11, 4, 2], [*target["tokens"][:-3], 3, 8, 8]]
        ),
        "span": [[-1, -1], [len(target["tokens"]) - 2, len(target["tokens"])]],
    },
    "vqa": lambda target: {"question": [[6, 2, 9], [8, 30, 0]], "answer": [2, -1]},
    "vqa-words": lambda target: {
        "question": [[6, 2, 9], [8, 30, 0]],
        "tokens": [[1, 5, 11, 4, 2], [1, 6, 6, 2, 2]],
        "span": [[1, 3], [-1, -1]],
    },
    "segmentation": lambda target: {"class": [1, 4], "mask": torch.rand(2, 32, 32)},
}
"""Something else to ask than what was traced."""


class Unaided(nn.Module):
    """ViLT with its own embedding, which picks patches by the values of a mask."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images, question):
        return self.model(pixel_values=images, input_ids=question).logits


def test_what_cannot_be_traced_names_the_module(tmp_path):
    pytest.importorskip("transformers", reason='pip install "camport[oracles]"')
    from tests.adapters.speakers import SIDE, SPEAKERS

    speaker = SPEAKERS["vilt"]
    bound = camport.bind(Unaided(speaker.make()).eval(), "saliency", adapter=speaker.adapter)
    with pytest.raises(
        ExportError,
        match=r"data-dependent .* \(in ViltEmbeddings.visual_embed, modeling_vilt.py:\d+\)",
    ):
        to_onnx(bound, tmp_path / "x.onnx", torch.rand(2, 3, SIDE, SIDE), speaker.target)
    assert not list(tmp_path.iterdir())


class Chosen(nn.Module):
    """Keeps the columns that a mask says: how many there are depends on the image."""

    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Conv2d(3, 4, 3, 4), nn.Linear(4, 5)

    def forward(self, x):
        maps = self.features(x)
        return self.head(maps[:, :, maps.mean((0, 1, 3)) > -9].mean((2, 3)))


def test_what_onnx_has_no_form_for_names_the_operator_and_the_module(tmp_path):
    bound = camport.bind(Chosen().eval(), "hirescam", "features")
    said = r"no ONNX form for aten.index_put.default with a mask among the indices in Chosen"
    with pytest.raises(ExportError, match=said):
        to_onnx(bound, tmp_path / "x.onnx", torch.rand(2, 3, 32, 32))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        *rare("vit-gpt2", "segformer", "resnet-gpt2", "blip", "git", "llava", "vilt", "blip-vqa"),
    ],
)
def test_transformers(tmp_path, name):
    pytest.importorskip("transformers", reason='pip install "camport[oracles]"')
    from tests.adapters.speakers import SIDE, SPEAKERS

    speaker = SPEAKERS[name]
    torch.manual_seed(1)
    bound = camport.bind(speaker.make().eval(), "layercam", adapter=speaker.adapter)
    images = torch.rand(2, 3, SIDE, SIDE)
    file = tmp_path / "model.onnx"
    to_onnx(bound, file, images, speaker.target)
    graph = onnx.load(file).graph
    assert [port.name for port in graph.input] == ["images", *speaker.adapter.inputs]
    agree(file, bound, images, OTHER[speaker.adapter.name](speaker.target))


# --- torchvision's segmentation networks, on a backbone of a few channels
# --------------------------------------------


def backbone(stages):
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.resnet import BasicBlock, ResNet

    return IntermediateLayerGetter(ResNet(BasicBlock, [1, 1, 1, 1]), stages)


def fcn():
    from torchvision.models.segmentation.fcn import FCN, FCNHead

    return FCN(backbone({"layer4": "out"}), FCNHead(512, 4))


def deeplabv3():
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

    return DeepLabV3(backbone({"layer4": "out"}), DeepLabHead(512, 4, (2, 4)))


def lraspp():
    from torchvision.models.segmentation.lraspp import LRASPP

    return LRASPP(backbone({"layer2": "low", "layer4": "high"}), 128, 512, 4)


@pytest.mark.parametrize("make", rare(fcn, deeplabv3, lraspp))
def test_segmentation_networks_of_torchvision(tmp_path, make):
    torch.manual_seed(0)
    model = make().eval()
    bound = camport.bind(model, "gradcam", "backbone.layer4", SegmentationAdapter(background=None))
    images = torch.rand(2, 3, 64, 64)
    file = tmp_path / "segmentation.onnx"
    to_onnx(bound, file, images)
    weights = torch.rand(2, 64, 64)
    agree(file, bound, images, {"class": [1, 3], "mask": weights})
    agree(file, bound, images, {"class": [-1, -1], "mask": (weights > 0.9).float()})
    mask = np.full((2, 64, 64), -1, np.float32)  # where the class is predicted
    asked = load(file)(images.numpy(), target=-1, mask=mask)
    assert np.allclose(asked.score, bound(images).score.numpy(), rtol=1e-4)
