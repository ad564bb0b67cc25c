"""torchvision's classifiers and detectors."""

from pathlib import Path
from typing import Any

from camport.errors import MissingDependencyError, ModelError, UnknownNameError
from camport.models.loaded import Loaded
from camport.models.weights import classes_in, load_state, read_state
from camport.runtime import Preprocess


def load(name: str, weights: Path | None, pretrained: bool) -> Loaded:
    """`torchvision:NAME` with published weights, weights of a file, or random ones."""
    try:
        from torchvision import models
    except ImportError as error:
        raise MissingDependencyError('torchvision is not installed: pip install "camport[torch]"') from error
    names = models.list_models(module=models) + models.list_models(module=models.detection)
    if name not in names:
        raise UnknownNameError("torchvision model", name, names)
    published = models.get_model_weights(name).DEFAULT
    detects = hasattr(models.detection, name)
    labels = tuple(published.meta.get("categories", ()))
    # a detector takes pictures of any size, scaled to [0,1], and prepares them itself
    preprocess = Preprocess() if detects else _preprocess(published.transforms())
    task = "detection" if detects else "classification"
    if pretrained:
        try:
            model = models.get_model(name, weights=published)
        except Exception as error:  # the hub raises network, file and hash errors alike
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(
                f"the weights of torchvision:{name} cannot be downloaded ({reason}); "
                "give --weights FILE, or --weights none for random ones"
            ) from None
        return Loaded(model.eval(), preprocess, labels, adapter=task)
    model = _random(models, name)
    if weights is not None:
        state = read_state(weights)
        classes = classes_in(state, model)
        if classes is not None:
            model, labels = _random(models, name, num_classes=classes), ()
        load_state(model, state, weights)
    return Loaded(model.eval(), preprocess, labels, adapter=task)


def _random(models: Any, name: str, **options: Any) -> Any:
    if name in ("googlenet", "inception_v3"):
        # their own initialisation takes a minute; the auxiliary heads are as in published weights
        options |= {"init_weights": False, "aux_logits": True}
    if hasattr(models.detection, name):
        options |= {"weights_backbone": None}
    return models.get_model(name, weights=None, **options)


def _preprocess(transforms: Any) -> Preprocess:
    """The published evaluation transforms: shorter side, centre crop, ImageNet's mean and std."""
    size, resize = transforms.crop_size[0], transforms.resize_size[0]
    return Preprocess(
        size=(size, size),
        fit="crop",
        resize=resize,
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )
