"""An exported explainer at the edge: numpy in, numpy out, without PyTorch."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from camport.errors import InputError, ModelError, UnknownNameError, guarded
from camport.runtime.binding import BoundValue, Device, place, run_bound
from camport.runtime.feeds import build_feeds
from camport.runtime.guessed import GuessedPreprocess
from camport.runtime.metadata import parse_metadata
from camport.runtime.ports import Port
from camport.runtime.preprocess import Preprocess
from camport.runtime.providers import Provider
from camport.runtime.result import Result, check_result, warn_of_flat_maps
from camport.runtime.session import open_session, short
from camport.targets import Field
from camport.targets.asked import check_asked


def load(
    path: str | os.PathLike[str],
    providers: Sequence[Provider] | None = None,
    *,
    threads: int | None = None,
) -> "Explainer":
    """Loads an exported explainer (.onnx).

    Args:
        path: the file.
        providers: execution providers in order of preference, by name ("CUDAExecutionProvider", or
            "cuda") or as (name, options). None picks the best that really works, and warns once
            (ProviderWarning) where that is not the one onnxruntime was built for. Named ones that
            do not load are an error, or a warning where another one in the list works.
        threads: threads within one operator; None leaves the choice to onnxruntime.

    Raises:
        ModelError: the file is missing, corrupt, truncated or no explainer, or no named provider
            works.
        UnknownNameError: an unknown provider.
        MissingDependencyError: onnxruntime, or a build of it with a named provider, is not
            installed.
        InputError: an empty provider list, or threads below 1.
    """
    return Explainer(Path(path), open_session(path, providers, threads))


class Explainer:
    """A loaded graph: prediction, score and heatmap in one run. Made by `load`; safe to call from
    several threads.

    Attributes:
        path: the file.
        metadata: the `camport.*` entries without the prefix: `version`; `method` and `adapter`,
            each {"name", "options"}; `layer`, a list; ... JSON is parsed, other text kept.
        inputs: the graph's inputs, each with name, dtype and shape.
        outputs: the graph's outputs, likewise.
        labels: class names by index, or None.
        preprocess: how the network wants its images; `preprocess.apply` makes of a picture what the
            file takes. Without such metadata: stretched to the graph's static height and width (or
            the image's own size where they are dynamic) and scaled to [0,1], not normalised.
        providers: the execution providers in use, in order.
        fields: what its target may say, of an adapter that declares it.
        one_image: whether it takes a single image, with any number of targets.
        device: whose memory inputs and outputs are bound to: each is copied there or back once.
    """

    def __init__(self, path: Path, session: Any) -> None:
        self.path = path
        with guarded(f"{path} is damaged", ModelError, remedy="export or copy it again"):
            self._read(session)

    def _read(self, session: Any) -> None:
        path = self.path
        self._session = session
        self.inputs = tuple(Port.of(argument) for argument in session.get_inputs())
        self.outputs = tuple(Port.of(argument) for argument in session.get_outputs())
        self.providers = tuple(session.get_providers())
        self.one_image = bool(self.inputs) and self.inputs[0].shape[:1] == (1,)
        self.device = Device.of(session)
        entries = session.get_modelmeta().custom_metadata_map
        self.metadata = parse_metadata(entries, str(path))
        if "version" not in self.metadata:
            raise ModelError(
                f"{path} is an ONNX graph but no camport explainer (it has no camport.version): it"
                f" gives {', '.join(port.name for port in self.outputs)}; make one with camport"
                " export"
            )
        self.fields: tuple[Field, ...] = self.metadata.get("target") or ()
        self.labels: tuple[str, ...] | None = self.metadata.get("labels")
        method = self.metadata.get("method")
        self._family = method.get("family") if isinstance(method, dict) else None
        stated = GuessedPreprocess.unless_stated(self.metadata.get("preprocess"), entries)
        self.preprocess = _for_channels(stated or self._default_preprocess(), self.inputs)

    def __call__(
        self,
        images: Any = None,
        target: Any = None,
        *,
        only: Sequence[str] | None = None,
        **inputs: Any,
    ) -> Result:
        """Runs the graph once.

        Args:
            images: float [b,3,H,W], as `preprocess` makes them; float64 is cast. A file that
                prepares its images itself (`preprocess.in_graph`) takes pictures as they are, uint8
                [b,h,w,3] of any size.
            target: class to explain: an int for all images, one an image, names where the graph
                carries labels; -1 or None is the model's own choice.
            only: names of the outputs that are wanted, e.g. ["heatmap"]; None: all. The others do
                not leave the device.
            inputs: the graph's further inputs by name: `boxes` [b,4] and `class_ids` [b], `tokens`
                [b,t] and `span` [b,2], ... A value without the batch axis holds for every image.

        Raises:
            InputError: an input that is missing or of the wrong dtype, rank, size, count or range,
                or not finite; `only` empty or a text; a region where the model predicts the class
                nowhere.
            UnknownNameError: an input or output the graph does not have, or an unknown class name.
            ModelError: the engine failed, or its score or heatmap is not finite.
        """
        feeds = self._feeds(self.inputs, {"images": images, "target": target, **inputs}, {})
        return self._run(self._place(feeds), only, feeds)

    def hold(self, images: Any, **inputs: Any) -> "Held":
        """Copies images, and further inputs where given, to the device once,
        to be explained many times.

        ```python
        held = explainer.hold(images)
        maps = [held(target).heatmap for target in (281, 282)]
        ```

        Args:
            images: as in a call; what becomes of the array afterwards does not matter.
            inputs: as in a call. What is held here is left out there.

        Raises:
            InputError, UnknownNameError, ModelError: as a call.
        """
        given = {"images": images, **inputs}
        names = [port.name for port in self.inputs]
        for name in given:
            if name not in names:
                raise UnknownNameError("input", name, names)
        sizes: dict[str, tuple[int, str]] = {}
        feeds = self._feeds([port for port in self.inputs if port.name in given], given, sizes)
        return Held(self, self._place({name: array.copy() for name, array in feeds.items()}), sizes)

    def _feeds(
        self, ports: Sequence[Port], given: Mapping[str, Any], sizes: dict[str, tuple[int, str]]
    ) -> dict[str, np.ndarray]:
        values = {name: value for name, value in given.items() if value is not None}
        names = [port.name for port in ports]
        for field in self.fields:
            if field.name in names and field.name not in values and field.default is not None:
                values[field.name] = field.rows(field.default, 1)[0]
        # an adapter's own fields may name other classes than the columns of the outputs
        named = {field.name: self._counted() for field in self.fields if field.kind == "class"}
        feeds = build_feeds(ports, values, self.labels, self._classes(), sizes, named)
        for field in self.fields:
            if field.name in feeds:
                field.rows(feeds[field.name], len(feeds[field.name]))
        check_asked(feeds, {port.name: port.shape for port in self.outputs}, self.metadata)
        return feeds

    def _place(self, feeds: Mapping[str, np.ndarray]) -> dict[str, BoundValue]:
        try:
            return {name: place(array, self.device) for name, array in feeds.items()}
        except Exception as error:
            raise ModelError(
                f"{self.path}: inputs cannot be copied to {self.device.kind}: {short(error)}"
            ) from None

    def _run(
        self,
        placed: Mapping[str, BoundValue],
        only: Sequence[str] | None,
        feeds: Mapping[str, np.ndarray],
    ) -> Result:
        names = [port.name for port in self.outputs]
        texts = (
            isinstance(only, list | tuple) and only and all(isinstance(name, str) for name in only)
        )
        if only is not None and not texts:
            raise InputError(
                f'only is {repr(only)[:80]}; give a list of outputs, e.g. ["heatmap"], or None'
                " for all"
            )
        wanted = list(dict.fromkeys(names if only is None else only))
        for name in wanted:
            if name not in names:
                raise UnknownNameError("output", name, names)
        try:
            result = Result(run_bound(self._session, self.device, placed, wanted), self._family)
        except Exception as error:
            raise ModelError(f"{self.path} failed to run: {short(error)}") from None
        check_result(result, feeds, self.path.name)
        warn_of_flat_maps(result, self.path.name)
        return result

    def __repr__(self) -> str:
        method, layer = (_name(self.metadata.get(key, "?")) for key in ("method", "layer"))
        ports = [f"  in   {port}" for port in self.inputs] + [
            f"  out  {port}" for port in self.outputs
        ]
        head = f"Explainer({self.path.name}: {method} at {layer}, on {self.providers[0]}"
        return "\n".join([head, *ports, ")"])

    def _counted(self) -> int | None:
        """How many classes the adapter counted when the file was made."""
        known = self.metadata.get("classes", "")
        return int(known) if isinstance(known, str) and known.isdecimal() else None

    def _classes(self) -> int | None:
        """How many classes `target` and `class_ids` may name, where the file says it."""
        counted = self._counted()
        if counted is not None:
            return counted
        shape = next((port.shape for port in self.outputs if port.name == "outputs"), ())
        # a single output is binary or a regression, whose targets are no indices into it
        if len(shape) in (2, 4) and isinstance(shape[1], int) and shape[1] > 1:
            return shape[1]
        return len(self.labels) if self.labels else None

    def _default_preprocess(self) -> Preprocess:
        shape = next((port.shape for port in self.inputs if len(port.shape) == 4), ())
        match shape:
            case (_, _, int(height), int(width)):
                return GuessedPreprocess(size=(height, width))
        return GuessedPreprocess()


def _for_channels(stated: Preprocess, inputs: Sequence[Port]) -> Preprocess:
    """The preprocessing for as many channels as the images have,
    where its mean and std say nothing of them."""
    shape = next((port.shape for port in inputs if len(port.shape) == 4), ())
    count = shape[3 if stated.in_graph else 1] if shape else stated.channels
    try:
        return stated.with_channels(count) if isinstance(count, int) else stated
    except InputError:
        return stated  # the images that it makes are refused, with the sizes that are wanted


class Held:
    """Images that stay on the device, explained as often as asked. Made by `Explainer.hold`; safe
    to call from several threads.
    """

    def __init__(
        self,
        explainer: Explainer,
        placed: Mapping[str, BoundValue],
        sizes: Mapping[str, tuple[int, str]],
    ) -> None:
        self._explainer, self._placed, self._sizes = explainer, placed, sizes

    def __call__(
        self, target: Any = None, *, only: Sequence[str] | None = None, **inputs: Any
    ) -> Result:
        """Runs the graph once on what is held; arguments,
        result and errors as `Explainer.__call__`."""
        whole = self._explainer
        rest = [port for port in whole.inputs if port.name not in self._placed]
        feeds = whole._feeds(rest, {"target": target, **inputs}, dict(self._sizes))
        return whole._run({**self._placed, **whole._place(feeds)}, only, feeds)


def _name(value: Any) -> str:
    """A metadata entry in short: the name of {"name", "options"}, the items of a list."""
    if isinstance(value, dict):
        return str(value.get("name", value))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
