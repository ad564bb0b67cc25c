"""Models that read an image as tokens among the words (LLaVA):
the image put where its placeholders stand.

transformers' own forward pass lists the images of a batch one by one, so its graph would be of one
batch size alone.
"""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from camport.errors import InputError

PARTS = ("vision_tower", "multi_modal_projector", "language_model")
OPTIONS = ("image_token_id", "vision_feature_layer", "vision_feature_select_strategy")


def reads_placeholders(model: nn.Module) -> bool:
    """Whether this is built as LLaVA is; its relatives that cut images into tiles are not."""
    inner, config = getattr(model, "model", None), getattr(model, "config", None)
    built = all(hasattr(inner, part) for part in PARTS) and all(
        hasattr(config, option) for option in OPTIONS
    )
    return built and not hasattr(inner, "image_newline")


def speak_in_place(model: Any, images: Tensor, tokens: Int[Tensor, "b t"]) -> Any:
    """What the model says after each of `tokens`,
    its placeholders replaced by the image's features in their order."""
    inner, config = model.model, model.config
    states = inner.vision_tower(images, output_hidden_states=True, return_dict=True).hidden_states
    first = 1 if config.vision_feature_select_strategy == "default" else 0
    wanted = config.vision_feature_layer
    layers = [wanted] if isinstance(wanted, int) else list(wanted)
    features = inner.multi_modal_projector(
        torch.cat([states[layer][:, first:] for layer in layers], -1)
    )
    embedded = inner.get_input_embeddings()(tokens)
    here = tokens == config.image_token_id
    place = (here.to(torch.int64).cumsum(1) - 1).clamp(0, features.shape[1] - 1)
    seen = features.gather(1, place[..., None].expand(-1, -1, features.shape[2])).to(embedded.dtype)
    return model(inputs_embeds=torch.where(here[..., None], seen, embedded), use_cache=False)


def check_placeholders(model: Any, images: Tensor, tokens: Int[Tensor, "b t"]) -> None:
    """InputError where a caption has another number of placeholders than the image has features."""
    patch = getattr(model.config.vision_config, "patch_size", None)
    if not isinstance(patch, int):
        return
    count = (images.shape[2] // patch) * (images.shape[3] // patch)
    count += model.config.vision_feature_select_strategy != "default"
    for i, found in enumerate((tokens == model.config.image_token_id).sum(1).tolist()):
        if found != count:
            raise InputError(
                f"the caption of image {i} has {found} image tokens"
                f" ({model.config.image_token_id}), and the image makes {count}: give the caption"
                " as the processor makes it, e.g. CaptioningAdapter(prompt=tuple(input_ids))"
            )
