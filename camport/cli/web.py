"""`camport web`: a static page that runs exported files in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from camport.cli.printing import say
from camport.cli.working import working
from camport.errors import InputError
from camport.runtime import load
from camport.runtime.image_file import check_image

SHOWN = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif")
"""Pictures that browsers read."""


def web(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE.onnx...", help="What `camport export` wrote; several."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The site's folder; made, but not its parents."
        ),
    ],
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="onnxruntime-web's dist, or its package. Left out: npm brings it (33 MB, once).",
        ),
    ] = None,
    sample: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="IMAGE",
            help="A picture to try, shown by its name; several. Six digit scenes if none.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Write into a folder that is not empty: files of the same names are replaced.",
        ),
    ] = False,
) -> None:
    """Write a static page that runs exported files in a browser: images, the camera,
    a class or a box.

    The folder holds all that the page needs, onnxruntime-web too: it asks no other address, and
    pictures stay in the browser. Any web server shows it: python -m http.server -d DIR. Browsers
    open the camera on localhost and over https alone.

    A file is asked about a class, or about a box where it finds boxes itself (camport export
    --one-image --nms); of another the page says what it takes.
    """
    from camport.web import from_folder, from_npm, write_site
    from camport.web.site import check_site, scenes

    check_site(output, force=force)
    for path in files:
        load(path, ["cpu"])
        if path.with_name(path.name + ".data").exists():
            raise InputError(
                f"{path} has its weights in {path.name}.data: it is too large for a browser"
            )
    for path in sample or []:
        check_image(path)
        if path.suffix.lower() not in SHOWN:
            raise InputError(f"{path}: browsers show {', '.join(SHOWN)}")
    samples = {path: path.stem for path in sample} if sample else scenes()
    with working(
        "gathering onnxruntime-web's files" if runtime else "fetching onnxruntime-web by npm"
    ):
        engine = from_folder(runtime) if runtime else from_npm()
    write_site(output, files, engine, samples, force=force)
    say(f"wrote {output}; show it with: python -m http.server --bind 127.0.0.1 -d {output} 8000")
