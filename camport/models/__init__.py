"""Models by name: what `--model SPEC` on the command line understands.
Names arrive when they are first used."""

from typing import TYPE_CHECKING

from camport.late import late

if TYPE_CHECKING:
    from camport.models.loaded import Loaded as Loaded
    from camport.models.spec import load_model as load_model
    from camport.models.spec import specs as specs

_HOMES = {
    "Loaded": "camport.models.loaded",
    "SPECS": "camport.models.spec",
    "load_model": "camport.models.spec",
    "specs": "camport.models.spec",
}

__all__ = ["Loaded", "load_model", "specs"]


__getattr__ = late(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
