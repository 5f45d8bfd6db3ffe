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
from hiper.weights.source import FilesystemSource, SourceByScheme, WeightsSource, open_source

__all__ = [
    "FilesystemSource",
    "Manifest",
    "PublishedWeights",
    "SourceByScheme",
    "WeightFile",
    "WeightsSource",
    "open_source",
    "prune",
    "verify",
    "version_directory",
    "write_version",
]
