"""An exported explainer at the edge: numpy in, numpy out, without PyTorch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camport.errors import ModelError
from camport.runtime.feeds import build_feeds
from camport.runtime.metadata import parse_metadata
from camport.runtime.ports import Port
from camport.runtime.preprocess import Preprocess
from camport.runtime.providers import Provider
from camport.runtime.result import Result
from camport.runtime.session import open_session, short


def load(
    path: str | os.PathLike[str],
    providers: Sequence[Provider] | None = None,
    *,
    threads: int | None = None,
) -> "Explainer":
    """Loads an exported explainer (.onnx).

    Args:
        path: the file.
        providers: execution providers in order of preference, by name ("CUDAExecutionProvider", or "cuda") or
            as (name, options). None picks the best that really works, and warns once (ProviderWarning) where
            that is not the one onnxruntime was built for. Named ones that do not load are an error, or a
            warning where another one in the list works.
        threads: threads within one operator; None leaves the choice to onnxruntime.

    Raises:
        ModelError: the file is missing, corrupt, truncated or no explainer, or no named provider works.
        UnknownNameError: an unknown provider.
        MissingDependencyError: onnxruntime, or a build of it with a named provider, is not installed.
        InputError: an empty provider list, or threads below 1.
    """
    return Explainer(Path(path), open_session(path, providers, threads))


class Explainer:
    """A loaded graph: prediction, score and heatmap in one run. Made by `load`; safe to call from several
    threads.

    Attributes:
        path: the file.
        metadata: the `camport.*` entries without the prefix: `version`; `method` and `adapter`, each
            {"name", "options"}; `layer`, a list; ... JSON is parsed, other text kept.
        inputs: the graph's inputs, each with name, dtype and shape.
        outputs: the graph's outputs, likewise.
        labels: class names by index, or None.
        preprocess: how the network wants its images. Without such metadata: stretched to the graph's static
            height and width (or the image's own size where they are dynamic) and scaled to [0,1], not
            normalised.
        providers: the execution providers in use, in order.
    """

    def __init__(self, path: Path, session: Any) -> None:
        self.path = path
        self._session = session
        self.inputs = tuple(Port.of(argument) for argument in session.get_inputs())
        self.outputs = tuple(Port.of(argument) for argument in session.get_outputs())
        self.providers = tuple(session.get_providers())
        self.metadata = parse_metadata(session.get_modelmeta().custom_metadata_map, str(path))
        if "version" not in self.metadata:
            raise ModelError(
                f"{path} is an ONNX graph but no camport explainer (it has no camport.version): "
                f"it gives {', '.join(port.name for port in self.outputs)}; make one with camport export"
            )
        self.labels: tuple[str, ...] | None = self.metadata.get("labels")
        self.preprocess: Preprocess = self.metadata.get("preprocess") or self._default_preprocess()

    def __call__(self, images: Any = None, target: Any = None, **inputs: Any) -> Result:
        """Runs the graph once.

        Args:
            images: float [b,3,H,W], as `preprocess` makes them; float64 is cast.
            target: class to explain: an int for all images, one an image, names where the graph carries
                labels; -1 or None is the model's own choice.
            inputs: the graph's further inputs by name: `boxes` [b,4] and `class_ids` [b], `tokens` [b,t] and
                `span` [b,2], ... A value without the batch axis holds for every image.

        Raises:
            InputError: an input that is missing or of the wrong dtype, rank, size, count or range, or not
                finite.
            UnknownNameError: an input the graph does not have, or an unknown class name.
            ModelError: the engine failed.
        """
        given = {"images": images, "target": target, **inputs}
        feeds = build_feeds(
            self.inputs,
            {name: value for name, value in given.items() if value is not None},
            self.labels,
            self._classes(),
        )
        names = [port.name for port in self.outputs]
        try:
            arrays = self._session.run(names, feeds)
        except Exception as error:
            raise ModelError(f"{self.path} failed to run: {short(error)}") from None
        return Result(dict(zip(names, arrays, strict=True)))

    def __repr__(self) -> str:
        method, layer = (_name(self.metadata.get(key, "?")) for key in ("method", "layer"))
        ports = [f"  in   {port}" for port in self.inputs] + [f"  out  {port}" for port in self.outputs]
        head = f"Explainer({self.path.name}: {method} at {layer}, on {self.providers[0]}"
        return "\n".join([head, *ports, ")"])

    def _classes(self) -> int | None:
        """How many classes `target` may name, where the graph says it."""
        shape = next((port.shape for port in self.outputs if port.name == "outputs"), ())
        # a single output is binary or a regression, whose targets are no indices into it
        if len(shape) in (2, 4) and isinstance(shape[1], int) and shape[1] > 1:
            return shape[1]
        return len(self.labels) if self.labels else None

    def _default_preprocess(self) -> Preprocess:
        shape = next((port.shape for port in self.inputs if len(port.shape) == 4), ())
        match shape:
            case (_, _, int(height), int(width)):
                return Preprocess(size=(height, width))
        return Preprocess()


def _name(value: Any) -> str:
    """A metadata entry in short: the name of {"name", "options"}, the items of a list."""
    if isinstance(value, dict):
        return str(value.get("name", value))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
