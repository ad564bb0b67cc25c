"""What a run of a graph gives: its outputs by name."""

from collections.abc import Iterator, Mapping

import numpy as np

from camport.errors import UnknownNameError


class UnknownOutputError(UnknownNameError, KeyError, AttributeError):  # type: ignore[misc]  # both have a name
    """An output the graph does not have; what a mapping raises, and what `hasattr` expects."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the repr, with quotes around the sentence


class Result(Mapping[str, np.ndarray]):
    """A graph's outputs, as attributes and as a read-only mapping, in the graph's order.

    `outputs` is the model's own prediction, `score` float32 [b], `heatmap` float32 [b,H,W] in [0,1]; with
    most methods there are `feature_maps` and `gradients` float32 [b,c,h,w], and `feature_maps_1`, ... for
    further layers. Other graphs may have other names.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            return self._arrays[name]
        except KeyError:
            raise UnknownOutputError("output", name, self._arrays) from None

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_"):  # copy and pickle ask before __init__ ran
            raise AttributeError(name)
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._arrays]

    def __repr__(self) -> str:
        lines = [f"  {name:14} {_describe(array)}" for name, array in self._arrays.items()]
        return "\n".join(["Result(", *lines, ")"])


def _describe(array: np.ndarray) -> str:
    """dtype, shape and range, e.g. `float32 [2,224,224] in [0, 1]`."""
    text = f"{array.dtype} {str(list(array.shape)).replace(' ', '')}"
    if array.size and array.dtype.kind in "fiu":
        text += f" in [{array.min():.4g}, {array.max():.4g}]"
    return text
