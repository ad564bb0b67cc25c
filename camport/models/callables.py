"""Models that a user's own code makes: `package.module:callable`."""

import importlib
import importlib.util
from pathlib import Path

from torch import nn

from camport.errors import ModelError, UnknownNameError
from camport.models.loaded import Loaded
from camport.models.weights import load_state, read_state
from camport.runtime import Preprocess


def exists(module: str) -> bool:
    """Whether a top-level module of this name can be imported here."""
    return importlib.util.find_spec(module) is not None


def load(module: str, name: str, weights: Path | None) -> Loaded:
    """Imports `module`, calls `name` without arguments (or takes it, where it is a model) and loads
    `weights`."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"module {module!r} cannot be imported: {error}; run camport where it lies"
        ) from None
    except (Exception, SystemExit) as error:  # a script may end itself when it is imported
        raise ModelError(
            f"module {module!r} failed to import: {type(error).__name__}: {error}"
        ) from error
    if not hasattr(found, name):
        raise UnknownNameError(
            f"name in {module}", name, [n for n in vars(found) if not n.startswith("_")]
        )
    made = getattr(found, name)
    if not isinstance(made, nn.Module):
        if not callable(made):
            raise ModelError(
                f"{module}:{name} is {type(made).__name__}, neither a model nor a callable"
            )
        try:
            made = made()
        except (Exception, SystemExit) as error:
            raise ModelError(
                f"{module}:{name}() failed: {type(error).__name__}: {error}"
            ) from error
    if not isinstance(made, nn.Module):
        raise ModelError(f"{module}:{name}() returned {type(made).__name__}, not a torch.nn.Module")
    if weights is not None:
        load_state(made, read_state(weights), weights)
    return Loaded(made.eval(), Preprocess().with_channels(_channels(made)))


def _channels(model: nn.Module) -> int:
    """How many channels the first convolution takes; 3 where the model has none."""
    convolutions = (part for part in model.modules() if isinstance(part, nn.Conv2d))
    return next((part.in_channels for part in convolutions), 3)
