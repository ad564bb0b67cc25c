"""The `camport` command: its subcommands, and errors as one line."""

import sys
import warnings
from typing import Any

import typer

from camport.cli import bench, demo, evaluate, explain, export, layer_list, listings, run
from camport.errors import CamportError

app = typer.Typer(
    name="camport",
    help="Visual explanations of image networks, in PyTorch and as one ONNX file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("run")(run.run)
app.command("evaluate")(evaluate.evaluate)
app.command("bench")(bench.bench)
app.command("demo")(demo.demo)
app.command("methods")(listings.methods)
app.command("adapters")(listings.adapters)
app.command("metrics")(listings.metrics)
app.command("plugins")(listings.plugins)
app.command("layers")(layer_list.layers)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    The exit status is 0, 1 where `bench` found a slowdown or a failure, 2 for bad input, 130 where it was interrupted.
    """
    warnings.showwarning = _one_line
    try:
        status = app(arguments, standalone_mode=False)
    except CamportError as error:
        return _failed(str(error))
    except typer.Exit as stop:
        return stop.exit_code
    except typer.TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        return _failed(f"{message} (camport --help lists commands and options)" if message else "see camport --help")
    except (KeyboardInterrupt, typer.Abort):
        print("camport: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `camport methods | head`
        sys.stderr.close()
        return 0
    return status if isinstance(status, int) else 0


def _failed(message: str) -> int:
    print("camport: error: " + " ".join(message.split()), file=sys.stderr)
    return 2


def _one_line(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    print(f"camport: {category.__name__}: {' '.join(str(message).split())}", file=sys.stderr)
