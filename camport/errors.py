"""Every error and warning camport raises on purpose. This module imports nothing, so each room may use it.

Catch `CamportError` for all of them. The command line turns each into one line on stderr and exit status 2.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class CamportError(Exception):
    """Root of all errors raised on purpose; the message names the value at fault and the remedy."""


class InputError(CamportError):
    """Images, targets or options that cannot be explained: wrong rank, channels, dtype, range or value."""


class ImageFileError(CamportError):
    """An image file that is missing, truncated, too large or not an image."""


class LayerError(CamportError):
    """A target layer that does not exist, did not run, or has no path to the score."""


class ModelError(CamportError):
    """A model that cannot be loaded or called, or whose outputs no adapter understands."""


class MethodError(CamportError):
    """A method that cannot explain this model, or whose declared traits are not what it did."""


class PluginError(CamportError):
    """A plugin that cannot be registered; names plugin, distribution, hook and remedy."""


class ExportError(CamportError):
    """A graph that could not be captured, lowered or written; no file is left behind."""


class ParityError(ExportError):
    """An exported graph that does not reproduce eager PyTorch; no file is left behind."""


class OutputError(CamportError):
    """An output file or directory that cannot be written."""


class MissingDependencyError(CamportError):
    """An optional package that a feature needs; the message says what to install."""


class UnknownNameError(CamportError):
    """A name that is not registered; the nearest ones are offered.

    Args:
        kind: what was looked up, e.g. "method".
        name: the name that was asked for.
        choices: the names that exist.
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str]) -> None:
        self.kind, self.name, self.choices = kind, name, sorted(choices)
        near = nearest(name, self.choices)
        if near:
            hint = f"did you mean {' or '.join(repr(n) for n in near)}?"
        else:
            shown = ", ".join(self.choices[:12]) + (", ..." if len(self.choices) > 12 else "")
            hint = f"there is: {shown or 'none'}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


class CamportWarning(UserWarning):
    """Root of all warnings."""


class FlatMapWarning(CamportWarning):
    """A map is constant, so its heatmap is all zeros. The message says which of these is the reason:

    - dead gradient: the score does not depend on the layer for this image;
    - negative evidence only: every location speaks against the target and the method keeps positive evidence;
    - constant map: every location weighs the same.
    """


class ReusedLayerWarning(CamportWarning):
    """The target layer ran several times in one forward pass and the last run was explained; or such a run was chosen,
    and the score depends on others of the module as well.

    Choose another run with `name@0`, `name@1`, ... and this warning is gone.
    """


class ReluRuleWarning(CamportWarning):
    """A ReLU rule (guided backpropagation, deconvnet) met no ReLU, so the plain gradient was returned."""


class DoubtWarning(CamportWarning):
    """What was explained is not quite what was asked: a box that no detection matches well, or a method that cannot
    tell one object from another.
    """


class GuardWarning(CamportWarning):
    """A numerically undefined step was guarded; the message says which and on what share of channels."""


class PluginWarning(CamportWarning):
    """A third-party plugin failed to load and was left out; the others work."""


class ProviderWarning(CamportWarning):
    """ONNX Runtime could not use the accelerator it was built for and goes on with the CPU."""


def nearest(name: str, choices: Iterable[str], n: int = 3) -> list[str]:
    """The choices closest to `name`, best first, ignoring case; empty where none is near."""
    by_lower = {c.lower(): c for c in choices}
    return [by_lower[c] for c in get_close_matches(name.lower(), by_lower, n=n, cutoff=0.6)]
