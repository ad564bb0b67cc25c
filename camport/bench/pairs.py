"""Both sides of an entry: the bare forward pass and the explanation, in PyTorch, exported,
or by another library."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

import torch

import camport
from camport.bench.networks import Subject, subject
from camport.bench.onnx_files import bare_file, session_run
from camport.bench.peers import Peers
from camport.bench.plan import BARE, OWN, Entry, split
from camport.core import registry
from camport.core.bound import Bound
from camport.core.explainer import Explainer
from camport.errors import CamportError, MethodError
from camport.evaluation.named import key, made

Run = Callable[[], Any]


def method_of(text: str) -> tuple[Explainer, str | None]:
    """The method of `NAME(option=value)@layer`, and its layer."""
    name, layer = split(text)
    return made(name, registry.explainer), layer


def written(text: str) -> str:
    """`text` with options that are the default left out,
    so that one method has one name in all records."""
    method, layer = method_of(text)
    return key(method) + (f"@{layer}" if layer else "")


@dataclass(frozen=True)
class Pair:
    """What takes turns.

    Attributes:
        bare: the forward pass.
        explained: the explanation; of the control the bare pass again.
        layer: that is explained, "" where there is none.
    """

    bare: Run
    explained: Run
    layer: str = ""


@dataclass(frozen=True)
class Pairs:
    """Makes the runs of entries.

    Attributes:
        files: where exported files are kept.
        device: "cpu" or "cuda".
        threads: of ONNX Runtime within an operator; PyTorch's are set by the process.
    """

    files: Path
    device: str
    threads: int

    def pair(self, entry: Entry) -> Pair:
        """Makes the two runs, which have not run yet.

        Raises:
            CamportError: the method does not fit the network, or cannot be exported, or a library
                cannot do it.
        """
        if entry.engine == "exported":
            return self._exported(entry)
        found = self.subject(entry)
        bare = bare_pass(found)
        if entry.method == BARE:
            return Pair(bare, bare)
        bound = bind(entry, found)
        if entry.engine in OWN:
            return Pair(bare, lambda: bound(found.images), ", ".join(bound.layers or ()))
        return Pair(bare, self._peer(entry, found, bound), ", ".join(bound.layers or ()))

    def subject(self, entry: Entry) -> Subject:
        """The network of an entry; built once for the entries that follow each other."""
        return _subject(entry.network, entry.batch, self.device)

    def file(self, entry: Entry) -> Path:
        """The exported network of an entry, bare or explained, written once for all batches."""
        name = hashlib.sha256(f"{entry.network} {entry.method}".encode()).hexdigest()[:16]
        file = self.files / f"{name}.onnx"
        if not file.exists():
            found = _subject(entry.network, entry.batch, "cpu")
            if entry.method == BARE:
                return bare_file(found.model, found.images, file)
            from camport.export import to_onnx

            bound = bind(entry, found)
            to_onnx(bound, file, found.images)
            file.with_suffix(".layer").write_text(", ".join(bound.layers or ()), encoding="utf-8")
        return file

    def _exported(self, entry: Entry) -> Pair:
        found = _subject(entry.network, entry.batch, "cpu")
        feeds = {"images": found.images.numpy()}
        control = Entry(entry.network, BARE, entry.engine, entry.batch)
        if entry.method == BARE:
            bare = session_run(self.file(control), feeds, self.device, self.threads)
            return Pair(bare, bare)
        file = self.file(entry)  # first: what is refused needs no bare session
        bare = session_run(self.file(control), feeds, self.device, self.threads)
        asked = {**feeds, "target": torch.full((entry.batch,), -1).numpy()}
        layer = file.with_suffix(".layer").read_text(encoding="utf-8")
        return Pair(bare, session_run(file, asked, self.device, self.threads), layer)

    def _peer(self, entry: Entry, found: Subject, bound: Bound) -> Run:
        """A run of another library, tried once."""
        layers = bound.layers or ()
        if len(layers) > 1:
            raise MethodError(
                f"{entry.engine} is asked for one layer, and {bound.explainer.name} has"
                f" {len(layers)}"
            )
        with quiet():
            target = bound(found.images).target
        try:
            run = _silent(
                Peers(found.model, bound.explainer, "".join(layers), found.images, target).run(
                    entry.engine
                )
            )
            run()
        except CamportError:
            raise
        except Exception as error:  # a library that cannot is left out, and said
            raise MethodError(f"{entry.engine} fails: {type(error).__name__}: {error}") from error
        return run


def bare_pass(found: Subject) -> Run:
    """The model's forward pass alone."""

    def run() -> Any:
        with torch.inference_mode():
            return found.model(found.images)

    return run


def bind(entry: Entry, found: Subject) -> Bound:
    """The entry's method on its network, asked once,
    which chooses the layer and refuses what does not fit."""
    method, layer = method_of(entry.method)
    bound = camport.bind(found.model, method, layer or found.layer)
    with quiet():
        bound(found.images)
    return bound


@lru_cache(maxsize=2)
def _subject(network: Any, batch: int, device: str) -> Subject:
    return subject(network, batch, device)


def _silent(run: Run) -> Run:
    """Without the progress bars that some libraries draw."""

    def silent() -> Any:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            return run()

    return silent


@contextmanager
def quiet() -> Iterator[None]:
    """Flat maps and doubts are no matter of cost."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", camport.CamportWarning)
        yield
