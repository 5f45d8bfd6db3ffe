"""Task panels: files that fix which tasks are played, by id, content hash and seed (spec/environments.md, 5)."""

from hiper.envs.panels.check import PanelMatch, PanelMismatchError, check_panel, require_same_data, unlike, verdict
from hiper.envs.panels.making import held_out_split, make_panel, panel_of_pins, panel_task
from hiper.envs.panels.model import Panel, PanelTask, dump_panel, first_difference, overlap, parse_panel
from hiper.envs.panels.shipped import find_shipped, load_panel, shipped_panels

__all__ = [
    "Panel",
    "PanelMatch",
    "PanelMismatchError",
    "PanelTask",
    "check_panel",
    "dump_panel",
    "find_shipped",
    "first_difference",
    "held_out_split",
    "load_panel",
    "make_panel",
    "overlap",
    "panel_of_pins",
    "panel_task",
    "parse_panel",
    "require_same_data",
    "shipped_panels",
    "unlike",
    "verdict",
]
