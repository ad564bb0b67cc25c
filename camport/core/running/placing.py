"""Which places of the image a layer's output has, followed through the functions of a forward pass.

Costs little until a function moves places about; ordinary networks have none before their target
layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from camport.core.isolation.random_state import python_states
from camport.core.maps.movers import (
    INDEXED,
    JOINING,
    MATRICES,
    MOVING,
    PRODUCTS,
    READING,
    REDUCING,
    SCATTERING,
    WHOLE,
)
from camport.core.maps.moving import apart, applied, padded, reach, written
from camport.core.maps.places import LARGEST, Places, distinct
from camport.core.maps.products import multiplied
from camport.core.maps.spectra import inverts, transforms
from camport.core.running.origins import Call, Origins, Taken

_SHAPES = ("new_", "zeros", "ones", "full", "empty", "rand")
MOST = 6
"""More parts of an image, each elsewhere, are not followed."""

_STANDARD, _UNKNOWN, _NOWHERE = Origins(standard=True), Origins(unknown=True), Origins()
_SPECTRAL = Origins(spectral=True)


class Placing(TorchFunctionMode):
    """While active, follows the places of an image through the functions that are called.

    Attributes:
        moved: whether a function has left places elsewhere than a map has them.
        decides: whether the model may do otherwise with the next image of this size.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.moved = False
        self._read = False
        self._drawn = python_states()
        self._known = WeakTensorKeyDictionary()
        self._known[image] = _STANDARD

    @property
    def decides(self) -> bool:
        """Whether a value was read into Python, an index was computed,
        or a random number of Python's was drawn."""
        return self._read or self._drawn != python_states()

    def of(self, tensor: Tensor) -> Origins:
        """Of which places a tensor is made; unknown where it is not seen how,
        and something was moved."""
        found: Origins | None = self._known.get(tensor)
        if found is not None:
            return found
        return _UNKNOWN if self.moved else _STANDARD

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the function and follows what it does to the places."""
        kwargs = kwargs or {}
        taken = [
            (v, self._known[v], tuple(v.shape))
            for v in _tensors((*args, *kwargs.values()))
            if v in self._known
        ]
        result = func(*args, **kwargs)
        self._read = self._read or _reads(func, args, kwargs, taken)
        if taken and not isinstance(result, int | float | bool | torch.Size | torch.dtype):
            self._note(Call(_name(func), func, args, kwargs, taken), result)
        return result

    def _note(self, call: Call, result: Any) -> None:
        name, args, taken = call.name, call.args, call.taken
        if name.startswith(_SHAPES) or name.endswith("_like"):
            return
        if name == "__setitem__":
            result = args[0]
        if name == "copy_" and isinstance(args[0], Tensor):
            with torch.no_grad():
                self._write(args[0], taken)
        results = [
            v
            for v in tree_leaves(result)
            if isinstance(v, Tensor) and (v.is_floating_point() or v.is_complex())
        ]
        if name == "numpy":
            self.moved = True
        if not results:
            return
        if inverts(name):
            return  # where they lie is not seen, as of what no function is known to have made
        # what lies on the image decides
        taken = [given for given in taken if not given[1].spectral]
        if not taken or transforms(name, args, call.kwargs):
            for value in results:
                self._known[value] = _SPECTRAL
            return
        call = replace(call, taken=taken)
        product = name in PRODUCTS and len(taken) > 1
        if name in ("scaled_dot_product_attention", "multi_head_attention_forward"):
            taken, product = taken[:1], True  # each place asks, and stays where it is
        elif not product and any(not o.asked and o is not _NOWHERE for _, o, _ in taken):
            # the surroundings of what stands at its place
            taken = [given for given in taken if not given[1].asked]
        if all(origins is _NOWHERE for _, origins, _ in taken):
            for value in results:
                self._known[value] = _NOWHERE
            return
        simple = all(origins is _STANDARD for _, origins, _ in taken)
        maps = (
            simple
            and all(len(shape) == 4 for _, _, shape in taken)
            and all(_is_map(v) for v in results)
        )
        if maps and not (call.moves or call.scatters):
            for value in results:
                self._known[value] = _STANDARD
            return
        if simple and name in ("cat", "concat") and _channels_joined(args, call.kwargs, results[0]):
            self._known[results[0]] = _STANDARD
            return
        with torch.no_grad(), torch.inference_mode(False):
            try:
                found = self._followed(replace(call, taken=taken), results)
            except Exception:  # whatever such a function does with other values
                found = [_UNKNOWN] * len(results)
        by = dict.fromkeys(known for _, origins, _ in taken for known in origins.by)
        if call.moves:
            by[name.strip("_")] = None
        asked = product or all(o.asked for _, o, _ in taken if o is not _NOWHERE)
        for value, origins in zip(results, found, strict=True):
            self._known[value] = (
                origins if origins.as_it_is else replace(origins, by=tuple(by), asked=asked)
            )
            self.moved = self.moved or not origins.as_it_is

    def _write(self, view: Tensor, taken: Taken) -> None:
        """Follows what is written into a part of another tensor, to that tensor."""
        base = view._base
        source, origins, shape = taken[-1]
        if base is None or source is view or (origins is _NOWHERE and len(taken) == 1):
            return
        known = self._known.get(base, _NOWHERE)
        try:
            if (
                origins.unknown
                or known.unknown
                or not base.is_contiguous()
                or base.numel() > LARGEST
            ):
                raise ValueError("not followed")
            before = [*known.each(base.shape), None]
            found = [
                written(base, view, before[0], places, shape) for places in origins.each(shape)
            ]
            self._known[base] = _origins(found, tuple(base.shape), unknown=False)
        except Exception:  # axes of other lengths
            self._known[base] = _UNKNOWN
        known = self._known[base]
        if known.moved or known.unknown:
            self._known[base], self.moved = replace(known, by=(*origins.by, "copy")), True

    def _followed(self, call: Call, results: list[Tensor]) -> list[Origins]:
        name, taken = call.name, call.taken
        unknown = any(origins.unknown for _, origins, _ in taken)
        shapes = [tuple(v.shape) for v in results]
        if call.scatters:
            return [_UNKNOWN] * len(results)
        if name in PRODUCTS:
            kept = multiplied(
                name, call.args, [(v, origins.each(shape), shape) for v, origins, shape in taken]
            )
            if kept is not None:
                # what is of the image on both sides and summed up on both is a statistic of the
                # whole of it
                return [_origins(kept, shapes[0], unknown) if kept or len(taken) > 1 else _UNKNOWN]
        if name in MATRICES and (len(taken) > 1 or name in ("einsum", "fold", "tensordot")):
            return [_UNKNOWN] * len(results)
        found: list[list[Places]] = [[] for _ in results]
        if name in MOVING:
            found = self._joined(call, shapes)
        else:
            for _, origins, before in taken:
                for places in (
                    origins.each(before) if len(before) == 4 or not origins.standard else []
                ):
                    for kept, shape in zip(found, shapes, strict=True):
                        new = self._computed(call, places, before, shape)
                        kept.extend([] if new is None else [new])
        return [_origins(kept, shape, unknown) for kept, shape in zip(found, shapes, strict=True)]

    def _computed(
        self, call: Call, places: Places, before: tuple[int, ...], shape: tuple[int, ...]
    ) -> Places | None:
        name, args, kwargs = call.name, call.args, call.kwargs
        if name in REDUCING and (len(args) > 1 or kwargs) and not isinstance(args[-1], Tensor):
            rest = {k: v for k, v in kwargs.items() if k in ("dim", "axis", "keepdim")}
            rows, columns = (
                torch.mean(
                    v.expand(before), *[a for a in args[1:] if not isinstance(a, str)], **rest
                )
                for v in (places.rows, places.columns)
            )
            found = Places.moved(Places(rows, columns), tuple(rows.shape), True, lambda v: v)[0]
            return found if found.rows.numel() > 1 and found.columns.numel() > 1 else None
        if len(before) < len(shape):  # broadcast
            return Places(
                *(v[(None,) * (len(shape) - len(before))] for v in (places.rows, places.columns))
            )
        mixed = None
        if "conv" in name:
            mixed = 1
        elif name == "linear" or name in MATRICES:
            mixed = len(before) - 1
        if "conv" in name or "pool" in name:
            places = places.within(reach(name, args, kwargs))
        return places.carried(before, shape, mixed)

    def _joined(self, call: Call, shapes: list[tuple[int, ...]]) -> list[list[Places]]:
        """What a moving function makes of each combination of the places of its arguments.

        Arguments with several places each are followed one by one, with the first of the others.
        """
        name, func, args, kwargs, taken = call.name, call.func, call.args, call.kwargs, call.taken
        if any(len(shape) != 4 and origins.standard for _, origins, shape in taken):
            raise ValueError("maps are [b,c,h,w]")
        if sum(v.numel() for v, _, _ in taken) > LARGEST:
            raise ValueError("too many values")
        each = {id(v): (origins.each(shape), shape) for v, origins, shape in taken}
        if name in JOINING:
            parts = apart(name, args, kwargs, list(each.values()), shapes[0])
            if parts is not None:
                return [parts]
        found: list[list[Places]] = [[] for _ in shapes]
        whole = name in WHOLE
        if name == "pad":
            (every, before), sides = (
                next(iter(each.values())),
                kwargs.get("pad", args[1] if len(args) > 1 else ()),
            )
            return [[padded(places, sides, before, shapes[0]) for places in every]]
        for i in range(max(len(places) for places, _ in each.values())):
            chosen = {
                key: (places[min(i, len(places) - 1)], shape)
                for key, (places, shape) in each.items()
                if places
            }
            rows, columns = (
                applied(name, func, args, kwargs, chosen, of, whole) for of in ("rows", "columns")
            )
            for kept, shape, r, c in zip(found, shapes, rows, columns, strict=True):
                new = Places(r, c).moved(shape, True, lambda v: v)[0]
                if new.rows.isnan().all() or new.columns.isnan().all():
                    continue
                for places, before in [v for v in chosen.values() if len(v[1]) == len(shape)]:
                    still = places.carried(before, shape, None)
                    if still is not None and new.nearly(still, before):
                        new = still
                        break
                kept.append(new)
        return found


def _origins(places: Sequence[Places], shape: tuple[int, ...], unknown: bool) -> Origins:
    kept = distinct(iter(places))
    moved = tuple(p for p in kept if not p.as_map(shape))
    if len(moved) > MOST:
        return _UNKNOWN
    standard = len(moved) < len(kept)
    if standard and not moved and not unknown:
        return _STANDARD
    return Origins(standard, moved, unknown) if kept or unknown else _NOWHERE


def _name(func: Any) -> str:
    name = str(getattr(func, "__name__", ""))
    return (
        str(getattr(getattr(func, "__self__", None), "__name__", "")) if name == "__get__" else name
    )


def _reads(func: Any, args: Any, kwargs: Mapping[str, Any], taken: Taken) -> bool:
    """Whether a function reads values of a tensor into Python,
    or moves what is of the image by computed indices."""
    name = getattr(func, "__name__", "")
    indexed = bool(taken) and (name in INDEXED or name in SCATTERING)
    return name in READING or (
        indexed and any(isinstance(v, Tensor) for v in tree_leaves((args[1:], kwargs)))
    )


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (v for v in value if isinstance(v, Tensor))


def _is_map(value: Tensor) -> bool:
    return value.dim() == 4 and value.shape[2] > 1 and value.shape[3] > 1


def _channels_joined(args: Any, kwargs: Mapping[str, Any], result: Tensor) -> bool:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    return dim in (1, -3) and _is_map(result)
