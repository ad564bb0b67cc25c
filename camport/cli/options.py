"""Options that several commands share, described once."""

from pathlib import Path
from typing import Annotated

import typer

from camport.targets.task import PREFERRED

Images = Annotated[
    list[Path],
    typer.Argument(help="Image files, or folders of them.", metavar="IMAGE...", show_default=False),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="SPEC",
        help=(
            "torchvision:NAME, timm:NAME, hf:NAME, package.module:callable, ultralytics:FILE,"
            " yolov5:FILE, demo:NAME or FILE.onnx."
        ),
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="State dict (.pt, .pth) or .safetensors; 'none' for random weights."
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        help=(
            "How to explain; `camport methods` lists them, options as in 'rise(samples=64)'."
            f" The task's if left out: {PREFERRED}."
        )
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help=(
            "How to explain; `camport methods` lists them, options as in 'rise(samples=64)'."
            f" Several, or all, are drawn side by side. The task's if left out: {PREFERRED}."
        ),
    ),
]
Target = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CLASS",
        help=(
            "Class to explain, by number or label; the top class if left out. For tasks of plugins"
            " NAME=VALUE, a box as L,T,R,B in the picture's pixels; `camport adapters` lists what"
            " they take."
        ),
    ),
]
Layer = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Target layer; several are fused. Chosen if left out (`camport layers`).",
    ),
]
Views = Annotated[
    list[str] | None,
    typer.Option(
        "--view",
        metavar="NAME",
        help=(
            "What is drawn: overlay, or the map alone; for gradients of the image colour, grey,"
            " positive or negative; for feature maps grid. Several are drawn side by side."
        ),
    ),
]
Sweep = Annotated[
    bool,
    typer.Option(
        "--sweep",
        help=(
            "One image at every layer, one by one; or at those of --layer, which may then be"
            " patterns: 'layer?.*'."
        ),
    ),
]
Adapter = Annotated[
    str | None,
    typer.Option(help="The task; `camport adapters` lists them. The model's own if left out."),
]
Chunk = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help=(
            "Images at a time in methods that run many variants of one; fewer need less memory."
            " From their size if left out."
        ),
    ),
]
Device = Annotated[str, typer.Option(help="Where PyTorch computes: cpu, cuda, cuda:1, mps.")]
JsonLines = Annotated[
    bool,
    typer.Option(
        "--json", help="Print a line of JSON for each image, in place of everything else."
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust-checkpoint",
        help="Load a checkpoint that holds Python objects: it may run any code.",
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="File to write.")]
Colormap = Annotated[
    str, typer.Option(help="Colours of the heatmap: turbo, jet, viridis, inferno or coolwarm.")
]
Alpha = Annotated[
    float,
    typer.Option(min=0, max=1, metavar="P", help="Weight of the colours where the map is hottest."),
]
Labels = Annotated[Path | None, typer.Option(metavar="FILE", help="Class names, one a line.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=VALUES",
        help=(
            "Value of an input that an .onnx file takes beside the images: numbers, or a .npy file."
        ),
    ),
]
Preprocessing = Annotated[
    str | None,
    typer.Option(
        "--preprocess",
        metavar="JSON",
        help=(
            'How the model wants its images, e.g. {"size": [224, 224], "mean": [...], "std":'
            " [...]}."
        ),
    ),
]
