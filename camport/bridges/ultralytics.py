"""ultralytics: a callback that explains a detector's best candidates after every n-th epoch of its
training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from camport.adapters import DetectionAdapter
from camport.bridges.epochs import check_every, explained


def explain_every(
    images: Tensor, every: int = 1, *, adapter: Any = None, **options: Any
) -> Callable[[Any], None]:
    """A callback: `model.add_callback("on_fit_epoch_end", explain_every(images, 5))`.

    Pictures go to `explanations/` in the training's folder. What is explained is the averaged
    network, as it is validated and saved.

    Args:
        images: [b,3,H,W] in [0,1], letterboxed as the network's own.
        every: epochs between two explanations, the first after the first epoch.
        adapter: as of `camport.bind`; None: the best three detections of each image,
            however confident, since there may be none that is in the first epochs.
        options: of `camport.bind`: `method`, `layer`, ...

    Raises:
        InputError: `every` below 1.
    """
    check_every(every)
    asked = DetectionAdapter(threshold=0.0, most=3) if adapter is None else adapter

    def explain(trainer: Any) -> None:
        if trainer.epoch % every:
            return
        averaged = getattr(trainer.ema, "ema", None)
        model = trainer.model if averaged is None else averaged
        first = next(model.parameters())
        placed = images.to(first.device, first.dtype)
        explanation = explained(model, placed, trainer.epoch, adapter=asked, **options)
        if explanation is None:
            return
        folder = Path(trainer.save_dir) / "explanations"
        folder.mkdir(parents=True, exist_ok=True)
        explanation.save(folder / f"epoch-{trainer.epoch:04}.png")

    return explain
