"""Writes docs/images: what `camport demo` draws, as .jpg. Run with `python docs/make_pictures.py [FOLDER]`.

FOLDER is one that `camport demo -o FOLDER` wrote; without it the demo is run.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

from camport.demo.show import show
from camport.view import save_image

IMAGES = Path(__file__).parent / "images"


def write(folder: Path) -> None:
    """Every picture of a demo's folder."""
    for file in sorted(folder.glob("*.png")):
        print(save_image(IMAGES / f"{file.stem}.jpg", Image.open(file), quality=85))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        write(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            show(Path(made), print)
            write(Path(made))
