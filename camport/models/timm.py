"""timm's classifiers."""

import math
from pathlib import Path
from typing import Any

from camport.errors import MissingDependencyError, ModelError, UnknownNameError
from camport.models.loaded import Loaded
from camport.models.weights import classes_in, load_state, read_state
from camport.runtime import Preprocess


def load(name: str, weights: Path | None, pretrained: bool) -> Loaded:
    """`timm:NAME` with published weights, weights of a file, or random ones."""
    try:
        import timm
    except ImportError as error:
        raise MissingDependencyError("timm is not installed: pip install timm") from error
    if name.split(".")[0] not in timm.list_models():
        raise UnknownNameError("timm model", name, timm.list_models())
    try:
        model = timm.create_model(name, pretrained=pretrained)
    except Exception as error:  # the hub raises network and file errors alike
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "; give --weights FILE, or --weights none for random ones" if pretrained else ""
        raise ModelError(f"timm:{name} cannot be made ({reason[:160]}){remedy}") from None
    if weights is not None:
        state = read_state(weights)
        classes = classes_in(state, model)
        if classes is not None:
            model = timm.create_model(name, num_classes=classes)
        load_state(model, state, weights)
    config = timm.data.resolve_model_data_config(model)
    return Loaded(model.eval(), _preprocess(config), _labels(timm, model))


def _preprocess(config: dict[str, Any]) -> Preprocess:
    height, width = config["input_size"][1:]
    return Preprocess(
        size=(height, width),
        fit="crop",
        resize=math.floor(max(height, width) / config.get("crop_pct", 1.0)),
        interpolation="bicubic" if config.get("interpolation") == "bicubic" else "bilinear",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def _labels(timm: Any, model: Any) -> tuple[str, ...]:
    if model.num_classes != 1000:
        return ()
    info = timm.data.ImageNetInfo()
    return tuple(info.index_to_description(i) for i in range(1000))
