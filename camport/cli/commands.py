"""The subcommands by name, each imported when it runs:
listing them needs neither NumPy nor what they need."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from camport.cli.printing import hush

SETTINGS = {"help_option_names": ["-h", "--help"]}

COMMANDS = {
    "explain": ("explain", "Explain what a model sees in images, in PyTorch."),
    "export": (
        "export",
        (
            "Export a model with its explainer as one graph of standard operators, proven equal to"
            " PyTorch."
        ),
    ),
    "run": ("run", "Explain images with an exported file, with onnxruntime alone."),
    "web": (
        "web",
        (
            "Write a static page that runs exported files in a browser: images, the camera, a class"
            " or a box."
        ),
    ),
    "evaluate": (
        "evaluate",
        "Measure methods by metrics on a model and images; started again, it goes on where it was.",
    ),
    "bench": (
        "bench",
        (
            "Measure what explanations cost as ratios to the bare forward pass, keep the run and"
            " compare it."
        ),
    ),
    "demo": (
        "demo",
        (
            "Explain photographs and bundled scenes in PyTorch, export the explainer, run it"
            " without PyTorch, and compare."
        ),
    ),
    "methods": ("listings", "List the explainers, or tell all about one."),
    "adapters": ("listings", "List the adapters: the tasks a model may have."),
    "metrics": (
        "listings",
        "List the metrics: what each needs, and whether higher or lower is better.",
    ),
    "plugins": ("listings", "List the plugins, with what they add and what went wrong."),
    "layers": (
        "layer_list",
        (
            "List a model's layers in the order they run, with those that `camport explain` would"
            " choose."
        ),
    ),
    "doctor": (
        "doctor",
        "Say which versions and devices are there, what is missing, and how to bring it.",
    ),
}
"""Module of camport.cli, whose function has the command's name, and the first line of its help."""

WRITING = ("explain", "export", "run", "web", "evaluate", "bench", "demo")
"""Commands whose result is a file; what the others print is all that they do,
and --quiet leaves it."""


class Commands(TyperGroup):
    """Knows each command by its first line until it is run."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, (_, line) in COMMANDS.items():
            self.commands.setdefault(name, TyperCommand(name, help=line))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, imported now; --quiet may stand before it or behind it."""
        name, command, rest = super().resolve_command(ctx, args)
        if ("--quiet" in rest or ctx.params.get("quiet")) and name in WRITING:
            hush()
        rest = [part for part in rest if part != "--quiet"]
        return name, command if name is None else whole(name), rest


def whole(name: str) -> Any:
    """A command with its function and options."""
    single = typer.Typer(add_completion=False, context_settings=SETTINGS)
    single.command(name)(getattr(import_module(f"camport.cli.{COMMANDS[name][0]}"), name))
    return get_command(single)
