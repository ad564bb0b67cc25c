"""Attention rollout and LeGrad: independent implementations, every library's transformers,
and what is refused."""

import warnings

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer, resnet18
from torchvision.models.swin_transformer import SwinTransformer

import camport
from camport.errors import InputError, MethodError
from camport.plugins import AttentionRollout, LeGrad
from tests.nets import TokenNet, images, seeded

timm = pytest.importorskip("timm", reason='pip install "camport[oracles]"')
torchcam = pytest.importorskip("torchcam.methods")
transformers = pytest.importorskip("transformers")

X = images(2, (24, 32))
METHODS = ("attention_rollout", "legrad")
FIVE = pytest.mark.skipif(
    transformers.__version__ < "5", reason="the test speaks of what transformers 5 calls so"
)


def from_torchvision() -> nn.Module:
    return seeded(
        VisionTransformer(
            32, 8, num_layers=3, num_heads=2, hidden_dim=12, mlp_dim=20, num_classes=5
        )
    )


def from_timm(fused: bool = True, **options) -> nn.Module:
    sizes = {
        "img_size": (24, 32),
        "patch_size": 8,
        "embed_dim": 12,
        "depth": 3,
        "num_heads": 2,
        "num_classes": 5,
    }
    model = seeded(timm.models.vision_transformer.VisionTransformer(**{**sizes, **options}))
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    return model


def from_transformers(attention: str) -> nn.Module:
    config = transformers.ViTConfig(
        image_size=(24, 32),
        patch_size=8,
        hidden_size=12,
        intermediate_size=20,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_labels=5,
        attn_implementation=attention,
    )
    return seeded(transformers.ViTForImageClassification(config))


def raw(model, method, x=X, target=2):
    return camport.explain(model, x, method, target).raw.double()


def close(ours, theirs, bound=1e-6):
    assert theirs.norm() > 0
    assert (ours - theirs).norm() / theirs.norm() < bound


def test_legrad_equals_torchcam():
    model, x, targets = from_torchvision(), images(2, (32, 32)), [1, 3]
    theirs = []
    with torchcam.LeGrad(model, list(model.encoder.layers)) as extractor:
        for i, c in enumerate(targets):
            theirs.append(extractor(c, model(x[i : i + 1]), normalized=False)[0])
    close(raw(model, "legrad", x, torch.tensor(targets)), torch.cat(theirs))


@pytest.mark.parametrize("last", [1, 2])
def test_the_last_blocks_of_legrad_equal_torchcam(last):
    model, x = from_torchvision(), images(1, (32, 32))
    with torchcam.LeGrad(model, list(model.encoder.layers)[-last:]) as extractor:
        theirs = extractor(2, model(x), normalized=False)[0]
    close(raw(model, LeGrad(last=last), x, 2), theirs)


@pytest.mark.parametrize(
    ("heads", "across"), [("mean", torch.mean), ("max", torch.amax), ("min", torch.amin)]
)
def test_rollout_equals_a_loop_over_what_timm_drops_out(heads, across):
    model, seen = from_timm(fused=False), []
    for block in model.blocks:
        block.attn.attn_drop.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        model(X)
    flow = torch.eye(13, dtype=torch.float64)
    for p in seen:
        layer = across(p, dim=1) + torch.eye(13, dtype=torch.float64)
        flow = layer / layer.sum(2, keepdim=True) @ flow
    wanted = flow[:, 0, 1:].reshape(2, 3, 4)
    close(raw(from_timm(fused=True), AttentionRollout(heads=heads)), wanted)
    close(raw(from_timm(fused=False), AttentionRollout(heads=heads)), wanted)


@pytest.mark.parametrize("method", METHODS)
def test_fused_and_written_out_attention_are_one(method):
    close(raw(from_timm(fused=True), method), raw(from_timm(fused=False), method))
    close(raw(from_transformers("sdpa"), method), raw(from_transformers("eager"), method))


@FIVE
def test_legrad_of_transformers_is_that_of_its_own_attentions():
    """Its eager attention hands out probabilities that take part in the computation."""
    model, parts = from_transformers("eager"), []
    # each block for itself: its probabilities are leaves, what it puts out goes through the head
    seen = model(X, output_attentions=True, output_hidden_states=True)
    for block, before, attended in zip(
        model.vit.layers, seen.hidden_states, seen.attentions, strict=False
    ):
        p = attended.detach().requires_grad_()
        v = (
            block.attention.v_proj(block.layernorm_before(before))
            .unflatten(2, (2, 6))
            .transpose(1, 2)
        )
        tokens = before + block.attention.o_proj((p @ v).transpose(1, 2).flatten(2))
        tokens = tokens + block.mlp(block.layernorm_after(tokens))
        score = model.classifier(model.vit.layernorm(tokens.mean(1)))[:, 2].sum()
        parts.append(torch.autograd.grad(score, p)[0].relu().mean((1, 2))[:, 1:].reshape(2, 3, 4))
    assert len(parts) == 3
    close(raw(model, "legrad"), torch.stack(parts).mean(0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "options", [{"reg_tokens": 4}, {"class_token": False, "global_pool": "avg"}]
)
def test_register_tokens_and_no_class_token(method, options):
    found = raw(from_timm(**options), method)
    assert found.shape == (2, 3, 4)
    assert (found.amax((1, 2)) > found.amin((1, 2))).all()


def test_without_a_class_token_all_rows_are_read():
    model = from_timm(class_token=False, global_pool="avg")
    close(raw(model, "attention_rollout"), raw(model, AttentionRollout(read="mean")))
    with pytest.raises(
        MethodError, match=r"VisionTransformer has no class token to read; read='mean'"
    ):
        raw(model, AttentionRollout(read="class"))


def test_rows_of_a_rollout_sum_to_one():
    """The class token's own share is what the patches leave."""
    found = raw(from_timm(class_token=False, global_pool="avg"), "attention_rollout")
    assert torch.allclose(found.sum((1, 2)), torch.ones(2, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_head_that_pools_by_attention_is_left_out(method):
    assert raw(from_timm(class_token=False, global_pool="map"), method).shape == (2, 3, 4)


def test_distilled_models_are_explained():
    model = timm.models.deit.VisionTransformerDistilled(
        img_size=(24, 32), patch_size=8, embed_dim=12, depth=3, num_heads=2, num_classes=5
    )
    assert raw(seeded(model), "attention_rollout").shape == (2, 3, 4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision(method, dtype):
    model, wanted = from_torchvision(), raw(from_torchvision(), method, images(2, (32, 32)))
    found = raw(model.to(dtype), method, images(2, (32, 32)).to(dtype))
    close(found, wanted, 1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize("method", METHODS)
def test_models_without_global_attention_are_refused(method):
    with pytest.raises(
        MethodError, match=r"ResNet has no attention over the image's patches: .*gradcam"
    ):
        raw(seeded(resnet18(num_classes=5)), method)
    swin = SwinTransformer([4, 4], 8, [1, 1], [2, 2], [3, 3], num_classes=5)
    with pytest.raises(
        MethodError, match=r"SwinTransformer attends within windows: \(12, 2, 9, 9\) for 2 images"
    ):
        raw(seeded(swin), method, images(2, (24, 36)))


class Doubling(TokenNet):
    """What a block puts out is changed behind it, and goes around the next block too."""

    def __init__(self, in_place: bool):
        super().__init__()
        self.in_place = in_place

    def forward(self, x):
        tokens = self.blocks[0](self.embed(x))
        if self.in_place:
            tokens *= 2
        else:
            tokens = tokens * 2
        return self.head(tokens + self.blocks[1](tokens))


@pytest.mark.parametrize("method", METHODS)
def test_tokens_that_are_overwritten_in_place(method):
    close(
        raw(seeded(Doubling(in_place=True)), method),
        raw(seeded(Doubling(in_place=False)), method),
        1e-12,
    )


class Pooling(TokenNet):
    """Half of the tokens are dropped between the blocks, or as keys."""

    def __init__(self, keys: bool):
        super().__init__()
        self.keys = keys

    def forward(self, x):
        tokens = self.blocks[0](self.embed(x))
        if self.keys:
            q, k = tokens[:, None], tokens[:, None, ::2]
            return self.head(tokens + (q @ k.mT).softmax(-1)[:, 0] @ tokens[:, ::2])
        return self.head(self.blocks[1](tokens[:, ::2]))


@pytest.mark.parametrize("method", METHODS)
def test_pyramids_are_refused(method):
    with pytest.raises(MethodError, match=r"Pooling attends over 2 numbers of tokens \(97, 193\)"):
        raw(seeded(Pooling(keys=False)), method)
    with pytest.raises(
        MethodError, match=r"Pooling attends from 193 tokens to 97, not among the same ones"
    ):
        raw(seeded(Pooling(keys=True)), method)


class AmongChannels(TokenNet):
    """Cross-covariance attention: a row and a column for each channel."""

    def forward(self, x):
        tokens = self.embed(x)
        for block in self.blocks:
            q = block.norm1(tokens).unflatten(2, (2, 3)).movedim(1, 3)  # [b,heads,channels,n]
            tokens = tokens + ((q @ q.mT / 193).softmax(-1) @ q).movedim(3, 1).flatten(2)
        return self.head(tokens)


@pytest.mark.parametrize("method", METHODS)
def test_attention_among_channels_is_refused(method):
    with pytest.raises(
        MethodError,
        match=r"attends among 3 tokens, which fit no grid over an image of 24x32.*gradcam",
    ):
        raw(seeded(AmongChannels()), method)


class Flat(TokenNet):
    """Attention in no module of its own."""

    def forward(self, x):
        tokens = self.embed(x)
        for _ in range(2):
            q = tokens[:, None]
            tokens = tokens + ((q @ q.mT).softmax(-1) @ q)[:, 0]
        return self.head(tokens)


def test_attention_in_no_block_of_its_own_has_a_rollout_alone():
    model = seeded(Flat())
    assert raw(model, "attention_rollout").shape == (2, 12, 16)
    with pytest.raises(
        MethodError,
        match=r"attention 1 of 2 is in no module of its own.*attention_rollout needs none",
    ):
        raw(model, "legrad")


def test_a_number_of_blocks_is_one_or_more():
    with pytest.raises(InputError, match=r"last is 0; give 1 block or more"):
        LeGrad(last=0)


@pytest.mark.parametrize("options", [{"kdim": 7, "vdim": 5}, {"bias": False}])
def test_multi_head_attention_of_every_make_is_seen(options):
    """`nn.MultiheadAttention` asked for its weights, with projections of other widths,
    gives what it gives."""
    from camport.core.running.open_attention import AttentionMode

    layer = nn.MultiheadAttention(6, 2, **options).double().eval()
    query = images(1, (4, 6))[0, :3].transpose(0, 1)  # [4,3,6]
    key, value = (torch.randn(4, 3, n, dtype=torch.float64) for n in (layer.kdim, layer.vdim))
    seen = []
    for mean in (True, False):
        wanted = layer(query, key, value, average_attn_weights=mean)
        with torch.no_grad(), AttentionMode(lambda p: seen.append(p) or p):
            found = layer(query, key, value, average_attn_weights=mean)
        assert torch.allclose(found[0], wanted[0])
        assert torch.allclose(found[1], wanted[1])
    assert [tuple(p.shape) for p in seen] == [(3, 2, 4, 4)] * 2


def test_masks_causality_and_grouped_queries_are_computed_as_pytorch_does():
    from torch.nn.functional import scaled_dot_product_attention as attend

    from camport.core.running.open_attention import AttentionMode

    q, k, v = (torch.randn(2, n, 5, 6, dtype=torch.float64) for n in (4, 2, 2))
    mask = torch.rand(2, 1, 5, 5, dtype=torch.float64) > 0.3
    mask |= torch.eye(5, dtype=torch.bool)
    for options in (
        {"enable_gqa": True},
        {"enable_gqa": True, "is_causal": True},
        {"enable_gqa": True, "attn_mask": mask},
        {"enable_gqa": True, "attn_mask": mask.double(), "scale": 0.3},
    ):
        seen = []
        with AttentionMode(lambda p, seen=seen: seen.append(p) or p):
            found = attend(q, k, v, **options)
        assert torch.allclose(found, attend(q, k, v, **options))
        assert len(seen) == 1
        assert torch.allclose(seen[0].sum(-1), torch.ones(2, 4, 5, dtype=torch.float64))


def test_a_bare_onnx_file_has_a_rollout(tmp_path):
    """Its nodes are no blocks, but what they attend to is seen all the same."""
    from camport.models import load_model

    model, x = from_timm().float(), X.float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (x,),
            tmp_path / "vit.onnx",
            dynamo=True,
            dynamic_shapes=({0: "b"},),
            verbose=False,
        )
    imported = load_model(str(tmp_path / "vit.onnx")).model
    close(raw(imported, "attention_rollout", x), raw(model, "attention_rollout", x))
    with pytest.raises(MethodError, match=r"attention 1 of 3 is in no module of its own"):
        raw(imported, "legrad", x)
