"""The `camport` command: its subcommands, and errors as one line."""

import os
import sys
import traceback
import warnings
from typing import Annotated, Any

import typer

from camport.cli.commands import SETTINGS, Commands
from camport.cli.printing import outputs, say, warn
from camport.cli.stopping import Stop, stopping
from camport.errors import CamportError, OutOfMemoryError, out_of_memory, reason_of

app = typer.Typer(
    name="camport",
    cls=Commands,
    help="Visual explanations of image networks, in PyTorch and as one ONNX file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)


def _version(asked: bool) -> None:
    if asked:
        from camport.version import __version__

        say(f"camport {__version__}")
        raise typer.Exit


@app.callback()
def camport(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and end.", callback=_version, is_eager=True
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print errors and warnings alone.")
    ] = False,
) -> None:
    """Visual explanations of image networks, in PyTorch and as one ONNX file."""


DEBUG = "CAMPORT_DEBUG"
"""Environment variable: where it is set and not 0, errors come with their traceback."""

USAGE: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__base__ is Exception
)
"""What every error of usage is: typer.TyperException,
or the click.ClickException of a typer that stands on click."""

INTERNAL = 70
"""Exit status of an error that nobody foresaw: EX_SOFTWARE of sysexits.h."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    The exit status is 0, 1 where `bench` found a slowdown or a failure, 2 for bad input, 70 for an
    error in camport itself or in a plugin, 128 and the signal's number where one stopped it: 130 at
    Ctrl+C, 143 at SIGTERM.
    """
    warnings.showwarning = _one_line
    with stopping() as stop, outputs():
        return _run(arguments, stop)


def _run(arguments: list[str] | None, stop: Stop) -> int:
    try:
        status = app(arguments, standalone_mode=False)
        sys.stdout.flush()
        if status == 130:  # what typer makes of a KeyboardInterrupt
            return _stopped(stop)
    except CamportError as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        return _failed(
            (_short_of_memory(error) if out_of_memory(error) else str(error)) + notes, error
        )
    except typer.Exit as ended:
        return ended.exit_code
    except USAGE as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        hint = "(camport --help lists commands and options)"
        return _failed(f"{message} {hint}" if message else "see camport --help", error)
    except (KeyboardInterrupt, typer.Abort):
        return _stopped(stop)
    except BrokenPipeError:  # `camport methods | head`
        return 0
    except Exception as error:
        if out_of_memory(error):
            return _failed(_short_of_memory(error), error)
        return _internal(error)
    return status if isinstance(status, int) else 0


def _stopped(stop: Stop) -> int:
    say("camport: terminated" if stop.signal else "camport: interrupted", err=True)
    return stop.status


def _short_of_memory(error: Exception) -> str:
    """Of what else than an explanation finds no memory: an import, a model that is loaded,
    a picture."""
    if isinstance(error, OutOfMemoryError):
        return str(error)
    said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return (
        f"out of memory: {said}; a smaller model, smaller or fewer images, or --chunk 1 need less"
    )


def _failed(message: str, error: BaseException) -> int:
    _traceback(error)
    say("camport: error: " + " ".join(message.split()), err=True)
    return 2


def _internal(error: Exception) -> int:
    """Of what nobody foresaw: it is the plugin's whose code raised it, else camport's."""
    _traceback(error)
    culprit = _culprit(error)
    how = f"with the command ({DEBUG}=1 shows the traceback)"
    if culprit is None:
        what = f"internal error: {reason_of(error)}; this is a fault of camport, please report it"
    else:
        what = f"error: {culprit} raised {reason_of(error)}; report it to its authors"
    say(f"camport: {what} {how}", err=True)
    return INTERNAL


def _culprit(error: Exception) -> str | None:
    """The plugin whose code raised an error."""
    if "camport.core.registry" not in sys.modules:  # without which no plugin's code runs
        return None
    from camport.core.plugin_faults import raised_by

    return raised_by(error)


def _traceback(error: BaseException) -> None:
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        say(*"".join(traceback.format_exception(error)).splitlines(), err=True)


def _one_line(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    warn(category.__name__, " ".join(str(message).split()))
