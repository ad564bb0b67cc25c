"""The folder of a static page: the page, the files it runs, pictures to try, and onnxruntime-web,
all beside it."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from camport.errors import InputError, OutputError
from camport.files import DRAFT, check_folder, sweep

PAGE = Path(__file__).parent / "page"
SCENES = Path(__file__).parents[1] / "demo" / "samples"
"""Of digits, for sites that are given no pictures."""
LIST = "site.json"
"""What the page reads first: the names of the files, of the pictures,
and whether WebGPU's engine is there."""


def scenes() -> dict[Path, str]:
    """The bundled pictures, and what each shows."""
    listed = json.loads((SCENES / "samples.json").read_text(encoding="utf-8"))
    return {SCENES / scene["file"]: scene["caption"] for scene in listed}


def check_site(folder: Path, *, force: bool = False) -> None:
    """OutputError where a site cannot be written into `folder`; where it holds something,
    without `force`."""
    check_folder(folder)
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise OutputError(
            f"{folder} is not empty; name another folder, or --force replaces files of the same"
            " names"
        )


def write_site(
    folder: Path,
    files: Sequence[Path],
    engine: Mapping[str, bytes],
    samples: Mapping[Path, str],
    *,
    force: bool = False,
) -> None:
    """Writes the site; in a folder that is new or empty the whole of it appears at once.

    Args:
        folder: where; made, but not its parents.
        files: exported explainers.
        engine: onnxruntime-web's files by name.
        samples: pictures to try, and what each shows.
        force: replace files of the same names in a folder that holds something; others in it stay.

    Raises:
        InputError: two files, or two pictures, of one name.
        OutputError: the folder holds something, or the operating system refused.
    """
    check_site(folder, force=force)
    for kind, paths in (("files", files), ("pictures", samples)):
        names = [path.name for path in paths]
        for name in names:
            if names.count(name) > 1:
                raise InputError(
                    f"two {kind} are called {name}; a page has one folder for them: rename one"
                )
    parent = folder.resolve().parent
    sweep(parent)
    try:
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=parent))
    except OSError as error:
        raise OutputError(f"cannot write in {parent}: {error.strerror}") from None
    try:
        _fill(draft, files, engine, samples)
        draft.chmod(0o755)  # mkdtemp's folder is readable for its owner alone, and a site is served
        _place(draft, folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _fill(
    draft: Path, files: Sequence[Path], engine: Mapping[str, bytes], samples: Mapping[Path, str]
) -> None:
    for place in sorted(PAGE.iterdir()):
        if place.is_file():
            shutil.copyfile(place, draft / place.name)
    for name in ("files", "samples", "engine"):
        (draft / name).mkdir()
    for path in files:
        shutil.copyfile(path, draft / "files" / path.name)
    for path in samples:
        shutil.copyfile(path, draft / "samples" / path.name)
    for name, content in engine.items():
        (draft / "engine" / name).write_bytes(content)
    listed = {
        "files": [path.name for path in files],
        "samples": [{"file": path.name, "caption": caption} for path, caption in samples.items()],
        "engines": [name for name in engine if name.startswith("ort.")],
    }
    (draft / LIST).write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")


def _place(draft: Path, folder: Path) -> None:
    """Moves a filled folder to its place; into a folder that is there file by file, each whole,
    the list last."""
    if not folder.exists():
        draft.rename(folder)
        return
    moved = sorted(
        (path for path in draft.rglob("*") if path.is_file()), key=lambda path: path.name == LIST
    )
    for path in moved:
        place = folder / path.relative_to(draft)
        place.parent.mkdir(exist_ok=True)
        os.replace(path, place)
