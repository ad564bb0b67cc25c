"""Colormaps. `python tests/view/test_colormaps.py` writes the tables from matplotlib's."""

from pathlib import Path

import numpy as np
import pytest

from camport.errors import InputError, UnknownNameError
from camport.view import COLORMAPS, apply_colormap, colormap_table, colormaps, signed_to_unit

TABLES = Path(colormaps.__file__).with_name("colormaps.npz")


def tables_of_matplotlib() -> dict[str, np.ndarray]:
    import matplotlib as mpl

    return {n: mpl.colormaps[n](np.arange(256), bytes=True)[:, :3] for n in COLORMAPS}


def test_tables_are_those_of_matplotlib() -> None:
    pytest.importorskip("matplotlib")
    for name, table in tables_of_matplotlib().items():
        np.testing.assert_array_equal(colormap_table(name), table)


@pytest.mark.parametrize("name", COLORMAPS)
def test_colours_agree_with_matplotlib(name) -> None:
    mpl = pytest.importorskip("matplotlib")
    heatmap = np.random.default_rng(0).random((9, 11), dtype=np.float32)
    heatmap[0, :2] = 0, 1
    expected = mpl.colormaps[name](heatmap, bytes=True)[..., :3]
    colours = apply_colormap(heatmap, name)
    assert colours.dtype == np.uint8
    np.testing.assert_array_equal(colours, expected)


def test_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown colormap 'viridi'; did you mean 'viridis'"):
        apply_colormap(np.zeros((2, 2)), "viridi")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((1, 2, 2)), r"float64 \[1, 2, 2\]; give one map \[H,W\]"),
        (np.full((2, 2), 1.5), r"lies in \[1.5, 1.5\]; bring it to \[0,1\]"),
        (np.full((2, 2), np.nan), "4 values that are not finite"),
        (np.zeros((0, 2)), r"\[0, 2\]"),
    ],
)
def test_bad_maps(bad, message) -> None:
    with pytest.raises(InputError, match=message):
        apply_colormap(bad)


def test_tables_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        colormap_table("turbo")[0] = 0


def test_signed_maps_keep_zero_in_the_middle() -> None:
    np.testing.assert_allclose(signed_to_unit(np.array([[-4.0, 0, 2]])), [[0, 0.5, 0.75]])
    assert np.all(signed_to_unit(np.zeros((2, 2))) == 0.5)
    with pytest.raises(InputError, match="1 values that are not finite"):
        signed_to_unit(np.array([[np.inf, 0]]))


if __name__ == "__main__":
    np.savez_compressed(TABLES, **tables_of_matplotlib())
