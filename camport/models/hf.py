"""Image classifiers of transformers."""

from pathlib import Path
from typing import Any

from camport.errors import MissingDependencyError, ModelError
from camport.models.loaded import Loaded
from camport.models.weights import load_state, read_state
from camport.runtime import Preprocess


def load(name: str, weights: Path | None, pretrained: bool) -> Loaded:
    """`hf:NAME`: a name on the hub or a local directory as `save_pretrained` makes it."""
    try:
        from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification
    except ImportError as error:
        raise MissingDependencyError(
            "transformers is not installed: pip install transformers"
        ) from error
    try:
        if pretrained:
            model = AutoModelForImageClassification.from_pretrained(name)
        else:
            model = AutoModelForImageClassification.from_config(AutoConfig.from_pretrained(name))
    except Exception as error:  # the hub raises network, file and value errors alike
        raise ModelError(
            f"hf:{name} cannot be loaded: {str(error).strip().splitlines()[0][:200]}"
        ) from None
    if weights is not None:
        load_state(model, read_state(weights), weights)
    try:
        processor: Any = AutoImageProcessor.from_pretrained(name)
    except Exception:  # a directory without a processor, which is common
        processor = None
    named = getattr(model.config, "id2label", None) or {}
    return Loaded(
        model.eval(), _preprocess(processor, model), tuple(named[i] for i in sorted(named))
    )


def _preprocess(processor: Any, model: Any) -> Preprocess:
    given = getattr(processor, "crop_size", None) or getattr(processor, "size", None) or {}
    side = (
        given.get("height")
        or given.get("shortest_edge")
        or getattr(model.config, "image_size", None)
    )
    size = (side, given.get("width") or side) if isinstance(side, int) else None
    if processor is None or not getattr(processor, "do_normalize", False):
        return Preprocess(size=size)
    return Preprocess(size=size, mean=tuple(processor.image_mean), std=tuple(processor.image_std))
