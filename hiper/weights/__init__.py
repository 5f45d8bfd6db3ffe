"""Published policy weights: how a version is written, checked, fetched and pruned. No torch: a version is files."""

from hiper.weights.manifest import (
    Manifest,
    PublishedWeights,
    WeightFile,
    prune,
    verify,
    version_directory,
    write_version,
)
from hiper.weights.source import FilesystemSource, WeightsSource, source_for

__all__ = [
    "FilesystemSource",
    "Manifest",
    "PublishedWeights",
    "WeightFile",
    "WeightsSource",
    "prune",
    "source_for",
    "verify",
    "version_directory",
    "write_version",
]
