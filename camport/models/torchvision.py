"""torchvision's classifiers, detectors and segmentation networks."""

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
        raise MissingDependencyError(
            'torchvision is not installed: pip install "camport[torch]"'
        ) from error
    names = [
        n
        for room in (models, models.detection, models.segmentation)
        for n in models.list_models(module=room)
    ]
    if name not in names:
        raise UnknownNameError("torchvision model", name, names)
    published = models.get_model_weights(name).DEFAULT
    task = _task(models, name)
    labels = tuple(published.meta.get("categories", ()))
    # a detector takes pictures of any size, scaled to [0,1], and prepares them itself
    preprocess = Preprocess() if task == "detection" else _preprocess(published.transforms())
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
        # published segmentation weights have a second head for training, those of a user mostly not
        aux = {"aux_loss": True} if any(".aux_classifier." in f".{key}" for key in state) else {}
        model = _random(models, name, **aux) if aux else model
        classes = classes_in(state, model)
        if classes is not None:
            model, labels = _random(models, name, num_classes=classes, **aux), ()
        load_state(model, state, weights)
    return Loaded(model.eval(), preprocess, labels, adapter=task)


def _task(models: Any, name: str) -> str:
    if hasattr(models.detection, name):
        return "detection"
    return "segmentation" if hasattr(models.segmentation, name) else "classification"


def _random(models: Any, name: str, **options: Any) -> Any:
    if name in ("googlenet", "inception_v3"):
        # their own initialisation takes a minute; the auxiliary heads are as in published weights
        options |= {"init_weights": False, "aux_logits": True}
    if _task(models, name) != "classification":
        options |= {"weights_backbone": None}
    return models.get_model(name, weights=None, **options)


def _preprocess(transforms: Any) -> Preprocess:
    """The published evaluation transforms: shorter side, centre crop, ImageNet's mean and std.

    Those of segmentation networks do not crop; the whole picture is letterboxed into a square of
    that side.
    """
    resize = transforms.resize_size[0]
    if not hasattr(transforms, "crop_size"):
        mean, std = tuple(transforms.mean), tuple(transforms.std)
        return Preprocess(size=(resize, resize), fit="letterbox", stride=8, mean=mean, std=std)
    size = transforms.crop_size[0]
    return Preprocess(
        size=(size, size),
        fit="crop",
        resize=resize,
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )
