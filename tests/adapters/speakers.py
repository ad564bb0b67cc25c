"""Models of transformers that write or answer, small and with random weights:
made from their configurations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import transformers
from torch import Tensor, nn

from camport.adapters import (
    CaptioningAdapter,
    SegmentationAdapter,
    VqaAdapter,
    WrittenAnswerAdapter,
)
from camport.core.adapter import Adapter

SIDE, WORDS, PLACEHOLDER = 32, 40, 39
# a range of 1e-10, as BLIP's vision has, or of 0.02 would leave next to nothing of the image in
# what is said
SEEN: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": SIDE,
    "patch_size": 8,
    "initializer_range": 0.2,
}
SAID: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "max_position_embeddings": 32,
    "initializer_range": 0.2,
}


def _decoded(encoder: Any, made: nn.Module | None = None) -> nn.Module:
    decoder = transformers.GPT2Config(
        vocab_size=WORDS,
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=32,
        add_cross_attention=True,
        is_decoder=True,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.2,
    )
    both = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    both.decoder_start_token_id, both.pad_token_id = 1, 0
    return transformers.VisionEncoderDecoderModel(both, encoder=made)


def vit_gpt2() -> nn.Module:
    return _decoded(transformers.ViTConfig(**SEEN))


def swin_gpt2() -> nn.Module:
    return _decoded(
        transformers.SwinConfig(
            image_size=SIDE,
            patch_size=4,
            embed_dim=8,
            depths=[1, 1],
            num_heads=[1, 2],
            window_size=4,
            initializer_range=0.2,
        )
    )


class Flat(transformers.ResNetModel):
    """A ResNet whose last maps are handed on as tokens, [b,h*w,c],
    which is what a decoder of text takes."""

    def forward(self, pixel_values: Tensor, **options: Any) -> Any:
        maps = super().forward(pixel_values).last_hidden_state
        return transformers.modeling_outputs.BaseModelOutput(
            last_hidden_state=maps.flatten(2).mT.contiguous()
        )


def resnet_gpt2() -> nn.Module:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", hidden_size=16
    )
    return _decoded(config, Flat(config))


def _blip() -> Any:
    text = {**SAID, "encoder_hidden_size": 16, "sep_token_id": 2}
    return transformers.BlipConfig(vision_config=dict(SEEN), text_config=text, projection_dim=16)


def blip() -> nn.Module:
    return transformers.BlipForConditionalGeneration(_blip())


def blip_vqa() -> nn.Module:
    return transformers.BlipForQuestionAnswering(_blip())


def git() -> nn.Module:
    return transformers.GitForCausalLM(transformers.GitConfig(vision_config=dict(SEEN), **SAID))


def llava() -> nn.Module:
    vision = transformers.CLIPVisionConfig(**SEEN, projection_dim=16)
    text = transformers.LlamaConfig(**SAID, num_key_value_heads=2)
    return transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=PLACEHOLDER,
            image_token_id=PLACEHOLDER,
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
        )
    )


def vilt() -> nn.Module:
    return transformers.ViltForQuestionAnswering(
        transformers.ViltConfig(**SEEN, vocab_size=WORDS, num_labels=7, max_position_embeddings=32)
    )


def segformer() -> nn.Module:
    return transformers.SegformerForSemanticSegmentation(
        transformers.SegformerConfig(
            num_encoder_blocks=2,
            depths=[1, 1],
            sr_ratios=[2, 1],
            hidden_sizes=[8, 16],
            patch_sizes=[7, 3],
            strides=[4, 2],
            num_attention_heads=[1, 2],
            mlp_ratios=[2, 2],
            decoder_hidden_size=16,
            num_labels=5,
            initializer_range=0.2,
        )
    )


@dataclass(frozen=True)
class Speaker:
    """A model, how it is asked, and a target.

    Attributes:
        make: the model with random weights.
        adapter: its adapter.
        target: what is explained.
        score: y by hand, from the model and the images.
    """

    make: Callable[[], nn.Module]
    adapter: Adapter
    target: dict[str, Any]
    score: Callable[[Any, Tensor], Tensor]


TOKENS = [1, 7, 9, 30, 2]
SPAN = (2, 4)
PROMPT = (1, *[PLACEHOLDER] * 16, 5)
ASKED = [3, 4, 5]


def _log_p(logits: Tensor, tokens: list[int], span: tuple[int, int]) -> Tensor:
    log_p = logits[:, logits.shape[1] - len(tokens) :].log_softmax(2)
    return sum(log_p[:, place - 1, tokens[place]] for place in range(*span))  # type: ignore[return-value]


def _rows(images: Tensor, tokens: list[int]) -> Tensor:
    return images.new_tensor(tokens).long().expand(len(images), -1)


def _answer(model: Any, images: Tensor) -> Tensor:
    """BLIP's answer as its own `forward` makes it, part by part."""
    seen = model.vision_model(pixel_values=images).last_hidden_state
    question = _rows(images, ASKED)
    asked = model.text_encoder(input_ids=question, encoder_hidden_states=seen).last_hidden_state
    said = model.text_decoder(
        input_ids=_rows(images, TOKENS), encoder_hidden_states=asked, use_cache=False
    )
    return _log_p(said.logits, TOKENS, SPAN)


CAPTION = {"tokens": TOKENS, "span": SPAN}
CAPTIONING = CaptioningAdapter(length=len(TOKENS))
LONG = [*PROMPT, 7, 9, 30]
SPEAKERS: dict[str, Speaker] = {
    "vit-gpt2": Speaker(
        vit_gpt2,
        CAPTIONING,
        CAPTION,
        lambda m, x: _log_p(
            m(pixel_values=x, decoder_input_ids=_rows(x, TOKENS)).logits, TOKENS, SPAN
        ),
    ),
    "swin-gpt2": Speaker(
        swin_gpt2,
        CAPTIONING,
        CAPTION,
        lambda m, x: _log_p(
            m(pixel_values=x, decoder_input_ids=_rows(x, TOKENS)).logits, TOKENS, SPAN
        ),
    ),
    "resnet-gpt2": Speaker(
        resnet_gpt2,
        CAPTIONING,
        CAPTION,
        lambda m, x: _log_p(
            m(pixel_values=x, decoder_input_ids=_rows(x, TOKENS)).logits, TOKENS, SPAN
        ),
    ),
    "blip": Speaker(
        blip,
        CAPTIONING,
        CAPTION,
        lambda m, x: _log_p(m(pixel_values=x, input_ids=_rows(x, TOKENS)).logits, TOKENS, SPAN),
    ),
    "git": Speaker(
        git,
        CAPTIONING,
        CAPTION,
        lambda m, x: _log_p(m(pixel_values=x, input_ids=_rows(x, TOKENS)).logits, TOKENS, SPAN),
    ),
    "llava": Speaker(
        llava,
        CaptioningAdapter(length=len(LONG), prompt=PROMPT),
        {"tokens": LONG, "span": (19, 21)},
        lambda m, x: _log_p(m(pixel_values=x, input_ids=_rows(x, LONG)).logits, LONG, (19, 21)),
    ),
    "vilt": Speaker(
        vilt,
        VqaAdapter(length=3),
        {"question": ASKED, "answer": 4},
        lambda m, x: m(pixel_values=x, input_ids=_rows(x, ASKED)).logits[:, 4],
    ),
    "blip-vqa": Speaker(
        blip_vqa,
        WrittenAnswerAdapter(answers=CAPTIONING, question_length=len(ASKED)),
        {"question": ASKED, **CAPTION},
        _answer,
    ),
    "segformer": Speaker(
        segformer,
        SegmentationAdapter(),
        {"class": 3, "box": (0, 0, 16, SIDE)},
        lambda m, x: nn.functional.interpolate(
            m(pixel_values=x).logits, (SIDE, SIDE), mode="bilinear"
        )[:, 3, :, :16].mean((1, 2)),
    ),
}
