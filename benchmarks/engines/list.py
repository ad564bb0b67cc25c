"""The engines, each with the same few questions: are you there, what do you compute,
what does it cost."""

import platform
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines.files import Subject
from benchmarks.engines.web import AbsentError, Browser, decode

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], Arrays]
ROUNDS = (15, 300)


class Engine:
    """One engine; made once, closed at the end.

    Attributes:
        name, version: as the table shows them.
        how: what was asked of it, and what it leaves out.
        clock: "CPU" or "wall", whichever its cost is told in; "" where its speed says nothing.
    """

    name = version = how = clock = ""

    def takes(self, subject: Subject) -> bool:
        """Whether it runs this file."""
        return True

    def open(self, file: Path) -> Run:
        """The file as a function."""
        raise NotImplementedError

    def race(
        self, bare: Path, explained: Path, feeds: Arrays, seconds: float
    ) -> tuple[list[float], list[float]]:
        """Seconds of each run of both files, in turns."""
        sides = [(self.open(bare), {"images": feeds["images"]}), (self.open(explained), feeds)]
        times: tuple[list[float], list[float]] = ([], [])
        begun = time.perf_counter()
        for turn in range(-3, ROUNDS[1]):
            if turn >= ROUNDS[0] and time.perf_counter() - begun > seconds:
                break
            for (run, given), noted in zip(sides, times, strict=True):
                started = time.process_time()
                run(given)
                if turn >= 0:
                    noted.append(time.process_time() - started)
        return times

    def close(self) -> None:
        """Lets go of what it holds."""


class OnnxRuntime(Engine):
    """ONNX Runtime with one execution provider."""

    clock = "CPU"

    def __init__(self, provider: str) -> None:
        self.name = f"ONNX Runtime, {provider.removesuffix('ExecutionProvider')}"
        try:
            import onnxruntime
        except ImportError:
            raise AbsentError('pip install "camport[cpu]"') from None
        from camport.runtime.session import open_session

        self._open, self._provider = open_session, provider
        self.version = onnxruntime.__version__
        if provider not in onnxruntime.get_available_providers():
            raise AbsentError(
                'pip install "camport[gpu]" in place of onnxruntime, on a machine with such a'
                " device"
            )
        if provider != "CPUExecutionProvider":
            from camport.runtime.cuda import cuda_fault

            if fault := cuda_fault():
                raise AbsentError(fault)
            self.clock, self.how = "", "TF32 off"

    def open(self, file: Path) -> Run:
        """A session."""
        options = {"use_tf32": "0"} if self._provider.startswith("CUDA") else {}
        session = self._open(file, [(self._provider, options)], threads=1)
        names = [value.name for value in session.get_outputs()]
        return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))


class Reference(Engine):
    """ONNX's own evaluator: the standard's text in numpy."""

    name = "onnx ReferenceEvaluator"
    how = (
        "numpy, operator by operator; the larger networks are left out, which would take it minutes"
    )

    def __init__(self) -> None:
        from onnx.reference import ReferenceEvaluator

        self._make = ReferenceEvaluator
        self.version = metadata.version("onnx")

    def takes(self, subject: Subject) -> bool:
        """The demo's network alone."""
        return subject.is_small

    def open(self, file: Path) -> Run:
        """An evaluator."""
        evaluator = self._make(str(file))
        return lambda feeds: dict(
            zip(evaluator.output_names, evaluator.run(None, dict(feeds)), strict=True)
        )


class OpenVino(Engine):
    """OpenVINO's runtime on the CPU."""

    name, clock = "OpenVINO", "CPU"
    how = (
        "CPU plugin with INFERENCE_PRECISION_HINT f32: where a CPU has bfloat16, it would compute"
        " in that by itself"
    )

    def __init__(self) -> None:
        try:
            import openvino
        except ImportError:
            raise AbsentError('pip install "camport[engines]"') from None
        self._core = openvino.Core()
        self.version = metadata.version("openvino")

    def open(self, file: Path) -> Run:
        """A compiled model."""
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        model = self._core.compile_model(str(file), "CPU", options)

        def run(feeds: Arrays) -> dict[str, np.ndarray]:
            found = model(dict(feeds))
            return {port.get_any_name(): np.array(found[port]) for port in model.outputs}

        return run


class Web(Engine):
    """onnxruntime-web in a browser."""

    name, clock, how = (
        "onnxruntime-web",
        "wall",
        "WASM execution provider, one thread, headless Chromium",
    )

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.version = browser.version

    def open(self, file: Path) -> Run:
        """A session in the page, let go by the next `open`."""
        # an empty page of the server's: nothing of the last file stays
        self.browser.open("benchmarks/engines/engines.js")
        shared = self.browser.share(file)

        def run(feeds: Arrays) -> dict[str, np.ndarray]:
            found = self.browser.call(
                f"{_ENGINES} return await run(...given);", shared, self.browser.put(feeds)
            )
            return {name: decode(value) for name, value in found.items()}

        return run

    def race(
        self, bare: Path, explained: Path, feeds: Arrays, seconds: float
    ) -> tuple[list[float], list[float]]:
        """As the others', in the page."""
        self.browser.open("benchmarks/engines/engines.js")
        files = self.browser.share(bare), self.browser.share(explained)
        times = self.browser.call(
            f"{_ENGINES} return await race(...given);",
            *files,
            self.browser.put(feeds),
            seconds,
            ROUNDS,
        )
        return tuple([t / 1000 for t in side] for side in times)  # type: ignore[return-value]

    def close(self) -> None:
        """The browser is the caller's."""


_ENGINES = 'const { run, race } = await import("/benchmarks/engines/engines.js");'


def machine() -> str:
    """The processor in words."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return next(
            line.split(":", 1)[1].strip()
            for line in text.splitlines()
            if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def everything() -> list[tuple[str, Callable[[Any], Engine]]]:
    """Name and maker of every engine that is known here; a maker takes the browser's maker."""
    providers = ("CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider")
    makers: list[tuple[str, Callable[[Any], Engine]]] = [
        (
            f"ONNX Runtime, {name.removesuffix('ExecutionProvider')}",
            lambda _, name=name: OnnxRuntime(name),
        )
        for name in providers
    ]
    makers.append((Reference.name, lambda _: Reference()))
    makers.append((OpenVino.name, lambda _: OpenVino()))
    makers.append((Web.name, lambda browser: Web(browser())))
    return makers
