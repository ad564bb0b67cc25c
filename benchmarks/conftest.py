"""Options, fixtures and machine information of the benchmarks."""

import gc
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.kit.cases import wanted
from benchmarks.kit.sides import Sides
from camport.bench.machine import device_line, versions

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("camport benchmarks")
    group.addoption(
        "--models", default="*", help="networks, cases or ids to run: patterns separated by commas"
    )
    group.addoption("--device", default="cpu", choices=("cpu", "cuda"), help="where both sides run")
    group.addoption("--threads", type=int, default=1, help="threads of PyTorch and of ONNX Runtime")
    group.addoption(
        "--seconds", type=float, default=6, help="how long one entry is measured, roughly"
    )
    group.addoption(
        "--gate",
        type=float,
        help="fail where Grad-CAM at resnet50's layer4 costs more than this ratio",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.inipath is None or config.inipath.parent != HERE:
        raise pytest.UsageError(
            "run the benchmarks by themselves: the tests' settings would be timed with them"
        )
    if config.getoption("--device") == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda: PyTorch sees no CUDA device here")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    patterns = config.getoption("--models")
    chosen = [item for item in items if wanted(item.callspec.params["entry"], patterns)]  # type: ignore[attr-defined]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """The ratio in place of PASSED."""
    ratio = dict(report.user_properties).get("ratio")
    return (
        ("passed", ".", str(ratio)) if ratio and report.passed and report.when == "call" else None
    )


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    device, threads = config.getoption("--device"), config.getoption("--threads")
    cpu = machine_info["cpu"].get("brand_raw", machine_info["processor"] or machine_info["machine"])
    machine_info.update(
        node="-",  # no host names in files that are shared
        versions=versions(),
        device=device,
        device_line=device_line(device, cpu, threads),
        threads=threads,
    )


@pytest.fixture(scope="session")
def sides(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """Where the runs of an entry come from; exports are kept for the session."""
    threads = request.config.getoption("--threads")
    torch.set_num_threads(threads)
    return Sides(tmp_path_factory.mktemp("exports"), request.config.getoption("--device"), threads)


@pytest.fixture(autouse=True)
def _memory_given_back() -> Any:
    yield
    gc.collect()
