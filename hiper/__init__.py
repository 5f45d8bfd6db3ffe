"""HiPER: the library every service shares. It imports no service, no torch and no vLLM."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("hiper-rl")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0+source"

__all__ = ["__version__"]
