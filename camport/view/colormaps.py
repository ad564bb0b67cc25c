"""Colours of maps: 256-entry tables, the field's well-known ones,
as a 4 kB file beside this module.

Every other colormap of matplotlib's goes by its name where matplotlib is installed. turbo, viridis,
inferno and jet run from cold to hot; coolwarm diverges from a neutral middle and is for signed
maps. The tables are matplotlib's; tests/view/test_colormaps.py compares them and, run as a script,
writes the file.
"""

from functools import cache
from pathlib import Path

import numpy as np

from camport.errors import InputError, UnknownNameError
from camport.view.pictures import to_unit_map

COLORMAPS = ("turbo", "jet", "viridis", "inferno", "coolwarm")
DIVERGING = (
    "coolwarm",
    "bwr",
    "seismic",
    "RdBu",
    "RdBu_r",
    "PiYG",
    "PRGn",
    "BrBG",
    "PuOr",
    "RdGy",
    "RdYlBu",
    "RdYlGn",
)
"""Those in which 0.5 is nothing, 0 is strong evidence against and 1 strong evidence for."""


def colormap_table(name: str) -> np.ndarray:
    """The table uint8 [256,3] of a colormap, read-only: of COLORMAPS,
    or of matplotlib where that is installed.

    Raises:
        UnknownNameError: no such colormap; the nearest is offered.
    """
    return _tables()[name] if name in COLORMAPS else _of_matplotlib(name)


@cache
def _of_matplotlib(name: str) -> np.ndarray:
    try:
        from matplotlib import colormaps
    except ImportError:
        raise UnknownNameError("colormap", name, COLORMAPS) from None
    if not isinstance(name, str) or name not in colormaps:
        raise UnknownNameError("colormap", name, [*COLORMAPS, *colormaps]) from None
    table = np.rint(colormaps[name](np.linspace(0, 1, 256), bytes=False)[:, :3] * 255).astype(
        np.uint8
    )
    table.setflags(write=False)
    return table


def ends(name: str) -> tuple[str, str]:
    """What the first and the last colour of a colormap say."""
    return ("against -1", "for +1") if name in DIVERGING else ("cold 0", "hot 1")


def apply_colormap(heatmap: np.ndarray, name: str = "turbo") -> np.ndarray:
    """Colours uint8 [H,W,3] of a map [H,W] in [0,1].

    Raises:
        InputError: not [H,W], not finite or outside [0,1].
        UnknownNameError: no such colormap.
    """
    table = colormap_table(name)
    index = np.minimum(to_unit_map(heatmap) * 256, 255).astype(np.uint8)
    return table[index]


def signed_to_unit(raw: np.ndarray) -> np.ndarray:
    """A signed map [H,W] as float32 in [0,1] with 0 at 0.5, for the diverging colormap;
    all 0.5 where it is 0.

    Raises:
        InputError: values that are not finite.
    """
    array = np.asarray(raw, dtype=np.float32)
    if not np.isfinite(array).all():
        raise InputError(
            f"raw map has {int((~np.isfinite(array)).sum())} values that are not finite"
        )
    peak = float(np.abs(array).max(initial=0))
    if peak == 0:
        return np.full_like(array, 0.5)
    return np.asarray(array / peak / 2 + 0.5, dtype=np.float32)


@cache
def _tables() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("colormaps.npz"), allow_pickle=False) as file:
        tables = {name: file[name] for name in COLORMAPS}
    for table in tables.values():
        table.setflags(write=False)
    return tables
