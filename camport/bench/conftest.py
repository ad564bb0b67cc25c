"""The plan as pytest's parameters, progress lines for the process that waits,
and what is said of the machine."""

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from camport.bench.launch import PROGRESS
from camport.bench.machine import device_line, versions
from camport.bench.pairs import Pairs
from camport.bench.plan import Plan

PLAN = pytest.StashKey[Plan]()
REFUSED = pytest.StashKey[dict[str, str]]()
FAILED = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plan's file."""
    parser.addoption("--plan", type=Path, required=True, help="what camport.bench.Plan.write wrote")


def pytest_configure(config: pytest.Config) -> None:
    """Reads it."""
    config.stash[PLAN] = plan = Plan.read(config.getoption("--plan"))
    config.stash[REFUSED], config.stash[FAILED] = {}, {}
    torch.set_num_threads(plan.threads)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test an entry."""
    metafunc.parametrize("entry", list(metafunc.config.stash[PLAN].entries()), ids=str)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Why an entry was left out or failed, for the report; and a line when an entry is done."""
    report: Any = yield
    entry = item.callspec.params["entry"]  # type: ignore[attr-defined]
    if report.skipped and isinstance(report.longrepr, tuple):
        item.config.stash[REFUSED][str(entry)] = report.longrepr[2].removeprefix("Skipped: ")
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        item.config.stash[FAILED][str(entry)] = crash.message if crash else str(report.longrepr)
    if report.when == "call":
        said = dict(report.user_properties).get("ratio", "left out" if report.skipped else "failed")
        os.write(1, f"\n{PROGRESS}{entry}: {said}\n".encode())  # past pytest's capture
    return report


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """What the figures were measured on and with; no host's name, since the files are shared."""
    plan = config.stash[PLAN]
    cpu = machine_info["cpu"].get("brand_raw", machine_info["processor"] or machine_info["machine"])
    machine_info.update(
        node="-",
        versions=versions(),
        device=plan.device,
        device_line=device_line(plan.device, cpu, plan.threads),
        threads=plan.threads,
    )


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """What was left out, and why; single rounds are not kept."""
    output_json["left_out"], output_json["failed"] = config.stash[REFUSED], config.stash[FAILED]
    for benchmark in output_json["benchmarks"]:
        benchmark["stats"].pop("data", None)
        benchmark["params"] = None


@pytest.fixture(scope="session")
def pairs(request: pytest.FixtureRequest) -> Pairs:
    """Where the runs come from."""
    plan = request.config.stash[PLAN]
    return Pairs(Path(plan.files), plan.device, plan.threads)


@pytest.fixture(scope="session")
def seconds(request: pytest.FixtureRequest) -> float:
    """How long an entry is measured."""
    return request.config.stash[PLAN].seconds


@pytest.fixture(scope="session")
def synchronize(request: pytest.FixtureRequest) -> Any:
    """Waits for the device."""
    return torch.cuda.synchronize if request.config.stash[PLAN].device == "cuda" else lambda: None


@pytest.fixture(autouse=True)
def _put_right() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # flat maps of noise, and what libraries deprecate
        yield
    gc.collect()
