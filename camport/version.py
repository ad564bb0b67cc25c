"""The version of what is installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("camport")
except PackageNotFoundError:
    __version__ = "0"
