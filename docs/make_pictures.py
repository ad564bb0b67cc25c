"""Writes docs/images: what `camport demo` draws, as .jpg. Run with
`python docs/make_pictures.py [FOLDER]`.

FOLDER is one that `camport demo -o FOLDER` wrote; without it the demo is run.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

from camport.show.show import show

IMAGES = Path(__file__).parent / "images"


def write(folder: Path) -> None:
    """Every picture of a demo's folder."""
    for file in sorted(folder.glob("*.png")):
        Image.open(file).convert("RGB").save(IMAGES / f"{file.stem}.jpg", quality=80, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            show(Path(made), print)
            write(Path(made))
