"""`camport bench`: what explanations cost, kept and compared."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camport.cli.listings import table as print_table
from camport.cli.printing import say
from camport.cli.working import counting, working
from camport.errors import CamportError, InputError, MissingDependencyError
from camport.files import check_folder, check_writable, write_text

if TYPE_CHECKING:
    from camport.bench import Network, Plan
    from camport.bench.growth import Series

MODELS = ("torchvision:resnet18", "demo:digits")
GROWING = ("gradcam", "saliency")
"""Methods whose growth is measured where none is named: one that stops at the layer,
and one that does not."""


def bench(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="SPEC",
            help=f"A network; several. {' and '.join(MODELS)} if none.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Weights of the one network; torchvision's and timm's are random if none.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=(
                "A method, with options and layer as in 'rise(samples=64)' and 'gradcam@layer3';"
                " several; 'all', of "
                "which those that are named beside it have their options. Those of one pass if"
                " none."
            ),
        ),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="eager, exported, grad-cam, torchcam, captum; several; 'peers': the last three. "
            "The first two if none.",
        ),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Images in one run; several. 1 if none.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the images; the network's own if none.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of PyTorch and of ONNX Runtime.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seconds: Annotated[
        float, typer.Option(min=0, help="How long one entry is measured, roughly.")
    ] = 2.0,
    memory: Annotated[
        bool, typer.Option("--memory", help="Peak memory too, in processes of their own.")
    ] = False,
    growth: Annotated[
        bool,
        typer.Option(
            "--growth",
            help="How time grows with batch, image, depth and masks; of the methods named.",
        ),
    ] = False,
    storage: Annotated[Path, typer.Option(metavar="DIR", help="Where runs are kept.")] = Path(
        ".camport-bench"
    ),
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.md", help="Tables as Markdown, a plot beside it."
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help=(
                "Exit status 1 where a ratio is over 15 % above that of the last run on this"
                " machine, beyond noise."
            ),
        ),
    ] = False,
) -> int:
    """Measure what explanations cost as ratios to the bare forward pass,
    keep the run and compare it."""
    if output:
        check_writable(output)
    check_folder(storage)
    if weights and len(model or MODELS) != 1:
        raise InputError("--weights is for one network; give one --model")
    if device not in ("cpu", "cuda"):
        raise InputError(f"--device {device}: camport bench measures on cpu and cuda")
    for package in ("torch", "pytest", "pytest_benchmark", "matplotlib"):
        _need(package)
    import tempfile

    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch sees no CUDA device here")
    from camport.bench import launch, record
    from camport.bench.plan import Plan

    networks = tuple(_network(spec, weights, size) for spec in model or MODELS)
    earlier = record.stored(storage)
    with tempfile.TemporaryDirectory() as files:
        plan = Plan(
            networks,
            _methods(method),
            _engines(engine),
            tuple(batch or (1,)),
            device,
            threads,
            seconds,
            files,
        )
        for network in networks:
            _check(network)
        total = sum(1 for _ in plan.entries())
        with counting(f"measuring {total} entries") as progress:
            report = launch.run(plan, progress)
        if memory:
            _remember(report, plan)
    if not report["benchmarks"]:
        _missing(report)
        raise InputError("nothing could be measured; the lines above say why")
    comparison = record.compared(report, earlier)
    if compare:
        report["slower"] = [change.entry for change in comparison.slower]
    kept = record.store(report, storage)
    series = _growth(plan, method) if growth else []
    _print(report)
    _write(report, series, output, storage)
    say(f"kept {kept}")
    return max(1 if report["failed"] else 0, _compare(comparison) if compare else 0)


def _compare(comparison: Any) -> int:
    """Says how the run is beside the last one; the exit status."""
    from camport.bench.record import SLOWER

    if not comparison.changes:
        say("no earlier run on this machine has these entries; nothing to compare with")
        return 0
    if comparison.new:
        say(f"{len(comparison.new)} entries are in no earlier run on this machine")
    for change in comparison.doubtful:
        say(f"within noise, measure longer by --seconds: {change}")
    for change in comparison.slower:
        say(f"slower: {change}")
    if not comparison.slower:
        say(
            f"{len(comparison.changes)} ratios compared; none is over {SLOWER - 1:.0%} above the"
            " last run's"
        )
    return 1 if comparison.slower else 0


def _methods(chosen: list[str] | None) -> tuple[str, ...]:
    """As they stand in the record."""
    import camport
    from camport.bench.pairs import written
    from camport.bench.plan import split
    from camport.core import registry
    from camport.core.describe import describe

    names = list(camport.methods())
    if not chosen:
        return tuple(name for name in names if describe(registry.explainer(name)).passes == "1")
    said = [written(text) for text in chosen if text != "all"]
    if len(said) == len(chosen):
        return tuple(dict.fromkeys(said))
    by_name: dict[str, list[str]] = {name: [] for name in names}
    for text in said:
        by_name[split(text)[0].partition("(")[0]].append(text)
    return tuple(text for name in names for text in by_name[name] or [name])


def _engines(chosen: list[str] | None) -> tuple[str, ...]:
    from camport.bench.peers import installed
    from camport.bench.plan import OWN, PEERS
    from camport.errors import UnknownNameError

    found: list[str] = []
    for name in chosen or OWN:
        if name not in (*OWN, *PEERS, "peers"):
            raise UnknownNameError("engine", name, [*OWN, *PEERS, "peers"])
        if name in PEERS and name not in installed():
            raise MissingDependencyError(f'{name} is needed for this: pip install "{name}"')
        found += installed() if name == "peers" else [name]
    if "exported" in found:
        _need("onnxruntime", "cpu")
    return tuple(dict.fromkeys(found))


def _network(spec: str, weights: str | None, size: int | None) -> "Network":
    from camport.bench.plan import Network

    # what they cost does not depend on their weights
    random = spec.partition(":")[0] in ("torchvision", "timm")
    return Network(spec, weights or ("none" if random else None), size)


def _check(network: "Network") -> None:
    """A wrong SPEC is one line here, and not one an entry."""
    from camport.bench.networks import subject

    subject(network, 1)


def _remember(report: dict[str, Any], plan: "Plan") -> None:
    """Puts peak memory into the entries."""
    from camport.bench.memory import memory_of
    from camport.bench.plan import Entry, Network

    rows = [row for row in (b["extra_info"] for b in report["benchmarks"]) if row]
    with counting("measuring memory") as progress:
        for done, row in enumerate(rows, 1):
            entry = Entry(Network(**row["network"]), row["method"], row["engine"], row["batch"])
            try:
                bare, explained = memory_of(entry, plan.files, plan.device, plan.threads)
                row["memory"] = {"bare": bare.added, "explained": explained.added}
            except CamportError as error:
                report["left_out"][f"{entry}, memory"] = str(error)
            progress(done, len(rows), str(entry))


def _growth(plan: "Plan", chosen: list[str] | None) -> "list[Series]":
    from camport.bench.apart import apart
    from camport.bench.growth import growth

    named = tuple(text for text in chosen or () if text != "all") or GROWING
    with working("measuring growth"):
        return apart(growth, plan, named)


def _print(report: dict[str, Any]) -> None:
    from camport.bench.page import megabytes, ratio

    clock = "wall" if report["machine_info"]["device"] == "cuda" else "cpu"
    rows = []
    for benchmark in report["benchmarks"]:
        row = benchmark["extra_info"]
        if row:
            times = (
                f"{row[f'{clock}_ms']:.1f}",
                f"{row[f'bare_{clock}_ms']:.1f}",
                ratio(row, clock),
                megabytes(row),
            )
            rows.append((benchmark["group"], row["method"], row["engine"], *times))
    print_table(
        ("network", "method", "engine", "ms", "bare, ms", "ratio [quartiles]", "MB over bare"), rows
    )
    _missing(report)


def _missing(report: dict[str, Any]) -> None:
    """A line for each entry without figures."""
    for what in ("left_out", "failed"):
        for entry, why in report[what].items():
            say(f"{what.replace('_', ' ')}: {entry}: {' '.join(why.split())}")


def _write(
    report: dict[str, Any], series: "list[Series]", output: Path | None, storage: Path
) -> None:
    """The page and the plot."""
    from camport.bench.growth_plot import plot
    from camport.bench.page import page

    picture = output.with_name(f"{output.stem}-growth.png") if output else storage / "growth.png"
    if series:
        plot(series, picture)
        say(f"wrote {picture}")
        for s in series:
            law = s.power
            say(f"{s.axis}, {s.name}: exponent {law.exponent:.2f} ± {law.error:.2f}")
    if output:
        command = shlex.join(["camport", *sys.argv[1:]])
        text = page(report, command, series, picture.name if series else "")
        write_text(output, text)
        say(f"wrote {output}")


def _need(package: str, extra: str = "bench") -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise MissingDependencyError(
            f'{package} is needed for this: pip install "camport[{extra}]"'
        )
