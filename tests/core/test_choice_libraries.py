"""The layer that is chosen in networks of transformers and timm, made from small configurations."""

import pytest
import torch
from torch import nn

import camport
from camport.adapters import DetectionAdapter, FunctionAdapter
from camport.errors import LayerError

transformers = pytest.importorskip("transformers", reason='pip install "camport[oracles]"')
timm = pytest.importorskip("timm")
from tests.adapters.speakers import SAID, SEEN, SIDE, llava  # noqa: E402 - needs transformers

pytestmark = pytest.mark.filterwarnings("ignore")
FIVE = pytest.mark.skipif(
    transformers.__version__ < "5", reason="the test speaks of what transformers 5 calls so"
)


def stirred(make):
    torch.manual_seed(1)
    model = make().eval()
    with torch.no_grad():  # scales that are initialised to nearly 0 would hide the image
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    return model


class OfTexts(nn.Module):
    """A model of an image and texts as a function of the image: the texts stand fixed."""

    def __init__(self, model, length, texts=1, **options):
        super().__init__()
        self.model, self.options = model, options
        ids = torch.randint(3, 38, (texts, length))
        ids[:, 0], ids[:, -1] = 1, 2
        self.register_buffer("ids", ids)

    def forward(self, x):
        said = self.model(pixel_values=x, input_ids=self.ids, **self.options)
        return next(
            said[name] for name in ("logits_per_image", "itm_score", "logits") if name in said
        )


def clip():
    text = {**SAID, "projection_dim": 12}
    return transformers.CLIPModel(
        transformers.CLIPConfig(vision_config=dict(SEEN), text_config=text, projection_dim=12)
    )


def blip():
    text = {**SAID, "encoder_hidden_size": 16, "sep_token_id": 2}
    return transformers.BlipForImageTextRetrieval(
        transformers.BlipConfig(
            vision_config=dict(SEEN), text_config=text, projection_dim=16, image_text_hidden_size=16
        )
    )


@pytest.mark.parametrize("length", [7, 9, 17])
@pytest.mark.parametrize(
    ("make", "options", "layer"),
    [
        (clip, {}, "model.vision_model.encoder.layers.0.layer_norm1"),
        (clip, {"texts": 3}, "model.vision_model.encoder.layers.0.layer_norm1"),
        (blip, {"use_itm_head": True}, "model.vision_model.encoder.layers.0.layer_norm1"),
        (blip, {"use_itm_head": False}, "model.vision_model.encoder.layers.0.layer_norm1"),
    ],
    ids=["clip", "clip-3-texts", "blip-matching", "blip-similarity"],
)
def test_not_in_the_text_tower(make, options, layer, length):
    model = stirred(lambda: OfTexts(make(), length, **options))
    x = torch.rand(1, 3, SIDE, SIDE)
    explanation = camport.explain(model, x, "hirescam", 0)
    assert explanation.layers == (layer,)
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda m, a, out: kept.append(out))
    y = model(x)
    handle.remove()
    y = y[:, 0] if y.dim() == 2 else y
    (gradient,) = torch.autograd.grad(y.sum(), kept[0])
    wanted = (gradient * kept[0])[:, 1:].sum(2).relu().unflatten(1, (4, 4)).detach()
    assert torch.allclose(explanation.raw, wanted, rtol=1e-3, atol=1e-5 * float(wanted.amax()))


def test_not_in_the_language_model():
    model = stirred(lambda: Asked(llava()))
    explanation = camport.explain(model, torch.rand(1, 3, SIDE, SIDE), "hirescam", 3)
    (layer,) = explanation.layers
    tower, _, rest = layer.partition("encoder.")
    assert tower in (
        "model.model.vision_tower.",
        "model.model.vision_tower.vision_model.",
    )  # transformers 5 and 4
    assert rest == "layers.0.layer_norm1"


class Asked(nn.Module):
    """A language model's next word after an image and a question."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.register_buffer("ids", torch.tensor([[1, *[39] * 16, 5, 6, 7, 8]]))

    def forward(self, x):
        return self.model(pixel_values=x, input_ids=self.ids).logits[:, -1]


@pytest.mark.parametrize("depths", [[1, 2], [1, 1], [1, 1, 1, 1]])
def test_the_last_stage_of_swin_v2(depths):
    config = transformers.Swinv2Config(
        image_size=64,
        patch_size=4,
        embed_dim=16,
        depths=depths,
        num_heads=[2] * len(depths),
        window_size=4,
    )
    model = stirred(lambda: transformers.Swinv2ForImageClassification(config))
    explanation = camport.explain(model, torch.rand(1, 3, 64, 64), "gradcam", 1)
    side = 16 // 2 ** (len(depths) - 1)
    assert explanation.layers == ("swinv2.layernorm",)
    assert tuple(explanation.raw.shape) == (1, side, side)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("mobileone_s0", "stages"),  # a sum of branches, behind an identity
        ("repvgg_a0", "stages"),
        ("efficientnet_lite0", "bn2"),  # with its activation
    ],
)
def test_no_inner_branch_and_no_convolution_before_its_activation(name, layer):
    model = stirred(lambda: timm.create_model(name, num_classes=5))
    explanation = camport.explain(model, torch.rand(1, 3, 64, 64), "gradcam", 1)
    assert explanation.layers == (layer,)
    assert float(explanation.activations[0].amin()) == 0  # behind a ReLU


def depth_anything():
    backbone = transformers.Dinov2Config(
        **{**SEEN, "num_hidden_layers": 2},
        out_features=["stage1", "stage2"],
        reshape_hidden_states=False,
    )
    return transformers.DepthAnythingForDepthEstimation(
        transformers.DepthAnythingConfig(
            backbone_config=backbone,
            patch_size=8,
            reassemble_hidden_size=16,
            reassemble_factors=[2, 1],
            neck_hidden_sizes=[4, 8],
            fusion_hidden_size=8,
            head_hidden_size=4,
        )
    )


def glpn():
    return transformers.GLPNForDepthEstimation(
        transformers.GLPNConfig(
            depths=[1] * 4,
            hidden_sizes=[8, 8, 16, 16],
            num_attention_heads=[1, 1, 2, 2],
            decoder_hidden_size=8,
        )
    )


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        pytest.param(depth_anything, "backbone.encoder.layer.1.norm1", marks=FIVE),
        (glpn, "glpn.encoder.block.3.0.layer_norm_1"),
    ],
    ids=["depth-anything", "glpn"],
)
def test_the_encoders_end_of_a_depth_network(make, layer):
    near = FunctionAdapter(lambda said: said.predicted_depth.mean((1, 2)))
    side = 32 if make is depth_anything else 64
    explanation = camport.explain(
        stirred(make), torch.rand(1, 3, side, side), "gradcam", adapter=near
    )
    assert explanation.layers == (layer,)
    assert bool(explanation.gradients[0].any())


def test_mobilevit_of_small_weights_whose_maps_underflow():
    config = transformers.MobileViTConfig(
        image_size=64,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 8, 12, 16, 24, 32],
        num_attention_heads=2,
        num_labels=5,
    )
    torch.manual_seed(1)
    model = transformers.MobileViTForImageClassification(config).eval()
    assert camport.explain(model, torch.rand(1, 3, 64, 64), target=1).layers == (
        "mobilevit.conv_1x1_exp",
    )


@pytest.mark.parametrize(
    ("stages", "pools", "layer", "side"),
    [
        ((1, 2, 2, 1), 3, "blocks.5", 2),
        ((1, 1), 1, "blocks.1", 8),
        ((1, 1, 2), 2, "blocks.3.norm1", 4),
    ],
)
def test_hiera_where_its_units_are_in_the_order_of_the_image(stages, pools, layer, side):
    def make():
        return timm.models.hiera.Hiera(
            img_size=(64, 64),
            embed_dim=16,
            num_heads=1,
            stages=stages,
            q_pool=pools,
            num_classes=5,
            mask_unit_size=(2**pools, 2**pools),
            mask_unit_attn=(True,) * len(stages),
        )

    model, x = stirred(make), torch.rand(1, 3, 64, 64)
    explanation = camport.explain(model, x, "hirescam", 2)
    assert explanation.layers == (layer,)
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda m, a, out: kept.append(out))
    y = model(x)[:, 2]
    handle.remove()
    (gradient,) = torch.autograd.grad(y.sum(), kept[0])
    wanted = (gradient * kept[0]).sum(2).relu().unflatten(1, (side, side)).detach()
    assert torch.allclose(explanation.raw, wanted, rtol=1e-3, atol=1e-5 * float(wanted.amax()))


def qwen(side):
    """Qwen2-VL with a picture of side x side in front of three words,
    as a function of the picture."""
    config = transformers.Qwen2VLConfig(
        text_config={
            "vocab_size": 100,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [2, 3, 3],
                "rope_theta": 1e4,
            },
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        vision_config={
            "depth": 2,
            "embed_dim": 16,
            "hidden_size": 32,
            "num_heads": 2,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "mlp_ratio": 2,
        },
        image_token_id=90,
        vision_start_token_id=92,
        vision_end_token_id=93,
        video_token_id=91,
    )
    return InFront(transformers.Qwen2VLForConditionalGeneration(config), side // 4)


class InFront(nn.Module):
    def __init__(self, model, cells):
        super().__init__()
        self.model, self.cells = model, cells
        self.register_buffer("ids", torch.tensor([[92, *[90] * (cells // 2) ** 2, 93, 5, 6, 7]]))

    def forward(self, x):
        h = w = self.cells
        patches = (
            x.unsqueeze(1)
            .expand(1, 2, 3, 4 * h, 4 * w)
            .reshape(1, 2, 3, h // 2, 2, 4, w // 2, 2, 4)
        )
        patches = patches.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(h * w, -1)
        kinds = (self.ids == 90).int()
        said = self.model(
            input_ids=self.ids,
            pixel_values=patches,
            image_grid_thw=torch.tensor([[1, h, w]]),
            attention_mask=torch.ones_like(self.ids),
            mm_token_type_ids=kinds,
        )
        return said.logits[:, -1]


@FIVE
def test_qwens_row_of_words_and_picture_is_no_map_even_where_it_has_a_square_number_of_tokens():
    model, x = stirred(lambda: qwen(16)), torch.rand(1, 3, 16, 16)
    assert model.ids.shape == (1, 9)
    with pytest.raises(
        LayerError,
        match=r"layers.1.input_layernorm' puts out 9 tokens, and the image moves 4 of them",
    ):
        camport.explain(model, x, target=3)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf)[:, 3].sum(), leaf)
    found = camport.explain(model, x, "saliency", 3)
    assert torch.allclose(
        found.raw, gradient.abs().amax(1), rtol=1e-3, atol=1e-5 * float(found.raw.amax())
    )


class Phrases(nn.Module):
    """Grounding DINO asked for two phrases."""

    def __init__(self):
        super().__init__()
        swin = transformers.SwinConfig(
            image_size=128,
            patch_size=4,
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        )
        text = transformers.BertConfig(
            vocab_size=1200,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        )
        sizes = {
            "encoder_layers": 1,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
        }
        config = transformers.GroundingDinoConfig(
            backbone_config=swin,
            text_config=text,
            d_model=32,
            num_queries=10,
            max_text_len=16,
            **sizes,
        )
        self.model = transformers.GroundingDinoForObjectDetection(config)
        self.register_buffer("ids", torch.tensor([[101, 500, 501, 1012, 502, 1012, 102]]))

    def forward(self, x):
        ones = torch.ones_like(self.ids)
        return self.model(
            pixel_values=x, input_ids=self.ids, attention_mask=ones, token_type_ids=0 * ones
        )


@pytest.mark.everything
def test_grounding_dino_at_the_levels_that_its_encoder_takes():
    model, x = stirred(Phrases), torch.rand(1, 3, 128, 128)
    bound = camport.bind(
        model, "hirescam", adapter=DetectionAdapter(classes=16, threshold=0.0, most=1)
    )
    found = bound(x)
    assert found.layers == tuple(f"model.model.input_proj_vision.{i}" for i in range(4))
    kept = []
    handles = [
        m.register_forward_hook(lambda m, a, out: kept.append(out))
        for m in model.model.model.input_proj_vision
    ]
    y = model(x).logits[0, int(found.figures["index"][0]), int(found.target[0])]
    for handle in handles:
        handle.remove()
    assert torch.allclose(found.score, y)
    for wanted, gradient in zip(torch.autograd.grad(y, kept), found.gradients, strict=True):
        assert torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().amax()))
