"""`camport demo`: the whole way from a picture to an explanation at the edge, offline."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from camport.cli.printing import say
from camport.cli.working import stepping
from camport.errors import MissingDependencyError
from camport.files import check_folder

TINY = "a tiny network: fixed costs dominate; of usual ones see benchmarks/RUNNING.md"
"""What the times of the demo say of others."""


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for pictures and files.")
    ] = Path("camport-demo"),
) -> None:
    """Explain photographs and bundled scenes in PyTorch, export the explainer,
    run it without PyTorch, and compare."""
    started = time.perf_counter()
    check_folder(output)
    try:
        import onnxruntime  # noqa: F401 - asked for before the work starts

        from camport.show.show import show
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'{error.name} is needed: pip install "camport[torch,cpu]"'
        ) from error
    with stepping() as step:
        figures = show(output, step)
    ms, report = figures.milliseconds, figures.report
    table = Table("", "", box=None, show_header=False, pad_edge=False)
    photographs = figures.photographs
    if not isinstance(photographs, str):
        photographs = (
            f"an ImageNet classifier's heatmaps differ by at most {photographs:.1e}, PyTorch and"
            " file"
        )
    rows = [
        ("photographs", photographs),
        ("digits asked about", f"{figures.asked}"),
        ("hottest point on that digit", f"{figures.hits} of {figures.asked} (to half a map cell)"),
        (
            "exported file",
            f"{report.bytes / 1e6:.2f} MB, {report.nodes} nodes, opset {report.opset}",
        ),
        ("heatmaps, PyTorch and file", f"differ by at most {figures.difference:.1e} (of 1)"),
        ("pictures, PyTorch and file", f"differ by at most {figures.same_picture} (of 255)"),
        ("PyTorch, prediction alone", f"{ms['bare']:.2f} ms an image"),
        ("PyTorch, with explanation", f"{ms['explained']:.2f} ms"),
        ("file, prediction and explanation", f"{ms['exported']:.2f} ms, without PyTorch"),
        ("", TINY),
    ]
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    for file in sorted(output.iterdir()):
        say(f"wrote {file}")
    say(f"done in {time.perf_counter() - started:.0f} s")
