"""What a run learned and what became of its trajectories: report.json, a picture, a table."""

from hiper.report.build import build_report
from hiper.report.files import RunFiles
from hiper.report.table import summary_lines

__all__ = ["RunFiles", "build_report", "summary_lines"]
