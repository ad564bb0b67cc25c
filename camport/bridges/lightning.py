"""Lightning: a callback that explains the same images after every n-th epoch."""

from pathlib import Path
from typing import Any

from torch import Tensor

from camport.bridges.epochs import check_every, explained
from camport.bridges.packages import package
from camport.bridges.tensorboard import add_explanation
from camport.errors import MissingDependencyError

_missing: MissingDependencyError | None = None
try:
    Callback: Any = package("lightning.pytorch", "lightning").Callback
except MissingDependencyError as error:
    # said when a callback is made, so that this module can be read without it
    Callback, _missing = object, error


class ExplainCallback(Callback):
    """Writes pictures of the maps where TensorBoard's logger writes,
    or into the trainer's own folder.

    The module is explained in evaluation mode and left in the mode it was in; the random state
    stays. What cannot be explained after an epoch is a CamportWarning, and the training goes on.

    Args:
        images: [b,c,H,W], as the module's `forward` takes them.
        every: epochs between two explanations, the first after the first epoch.
        target: what is explained; None: the top class.
        options: of `camport.bind`: `method`, `layer`, `adapter`, ...

    Raises:
        InputError: `every` below 1.
        MissingDependencyError: lightning is not installed.
    """

    def __init__(self, images: Tensor, every: int = 1, target: Any = None, **options: Any) -> None:
        if _missing is not None:
            raise _missing
        check_every(every)
        self.images, self.every, self.target, self.options = images, every, target, options

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Explains, of several processes on the first."""
        if trainer.current_epoch % self.every or not trainer.is_global_zero:
            return
        images, epoch = self.images.to(pl_module.device), trainer.current_epoch
        explanation = explained(pl_module, images, epoch, target=self.target, **self.options)
        if explanation is None:
            return
        writer = getattr(trainer.logger, "experiment", None)
        if hasattr(writer, "add_images"):
            add_explanation(writer, explanation.method, explanation, step=trainer.global_step)
            return
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "explanations"
        folder.mkdir(parents=True, exist_ok=True)
        explanation.save(folder / f"epoch-{epoch:04}.png")
