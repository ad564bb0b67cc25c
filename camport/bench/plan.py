"""What is measured: networks x batches x methods x engines,
as a plan that one process hands to another."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BARE = "bare"
"""The method of the control: a bare pass against itself, which shows the noise."""
OWN = ("eager", "exported")
PEERS = ("grad-cam", "torchcam", "captum")
"""Other libraries, by distribution; `--engine peers` is all of them."""


@dataclass(frozen=True)
class Network:
    """A network that is measured.

    Attributes:
        spec: of `camport.models.load_model`.
        weights: a file, "none" for random ones, or None for the network's own.
        size: height and width of the image, None for those that it was trained with.
    """

    spec: str
    weights: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Entry:
    """One line of the record: something that takes turns with the bare pass of the same engine.

    Attributes:
        network: the network.
        method: as it was written, `NAME(option=value)@layer` with options and layer left out where
            they are the default; "bare" is the control.
        engine: "eager", "exported" or another library's name.
        batch: images in one run.
    """

    network: Network
    method: str
    engine: str
    batch: int

    @property
    def group(self) -> str:
        """Of pytest-benchmark: entries of one network and batch."""
        size = f", {self.network.size} pixels" if self.network.size else ""
        weights = f", {self.network.weights}" if self.network.weights not in (None, "none") else ""
        return f"{self.network.spec}{weights}{size}, batch {self.batch}"

    def __str__(self) -> str:
        return f"{self.group}: {self.method}, {self.engine}"


@dataclass(frozen=True)
class Plan:
    """One run of `camport bench`.

    Attributes:
        networks: those that are measured.
        methods: as in `Entry`.
        engines: as in `Entry`.
        batches: sizes of the batch.
        device: "cpu" or "cuda".
        threads: of PyTorch and, within an operator, of ONNX Runtime.
        seconds: how long one entry is measured, roughly.
        files: folder of exported files, each of which is written once.
    """

    networks: tuple[Network, ...]
    methods: tuple[str, ...]
    engines: tuple[str, ...] = OWN
    batches: tuple[int, ...] = (1,)
    device: str = "cpu"
    threads: int = 1
    seconds: float = 2.0
    files: str = "."

    def entries(self) -> Iterator[Entry]:
        """All of them, a network after the other; the control of an engine before its methods.

        Of other libraries only the methods that they have.
        """
        from camport.bench.peers import METHODS

        for network in self.networks:
            for method in (BARE, *self.methods):
                for engine in self.engines:
                    if (
                        engine not in OWN
                        and split(method)[0].partition("(")[0] not in METHODS[engine]
                    ):
                        continue
                    for batch in self.batches:
                        yield Entry(network, method, engine, batch)

    def write(self, file: Path) -> None:
        """As JSON."""
        file.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Plan:
        """What `write` wrote."""
        given: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        networks = tuple(Network(**network) for network in given.pop("networks"))
        options: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in given.items()
        }
        return cls(networks, **options)


def split(method: str) -> tuple[str, str | None]:
    """`NAME(option=value)@layer` as method and layer; None where no layer is said."""
    found = re.fullmatch(r"(.+?)@([^@()'\"]+)", method.strip(), re.DOTALL)
    return (found[1], found[2]) if found else (method.strip(), None)
