"""Sphinx configuration of daemonry's documentation."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "daemonry"
release = version_of("daemonry")
version = ".".join(release.split(".")[:2])

extensions = ["sphinx.ext.autodoc", "beside", "commands", "measured", "reliability", "steps", "units"]
exclude_patterns = ["_build", "_ext"]

# Every reference has to lead somewhere.
nitpicky = True
# No inventories are fetched, so names from outside daemonry can't be resolved. They are set as code all the same.
nitpick_ignore_regex = [
    (r"py:.*", r"(argparse|collections|contextlib|lockfile|logging|os|pathlib)\b.*"),
    (r"py:.*", r"(signal|socket|threading|types|typing)\b.*"),
]

# Quotes only: -- stands for itself before a flag.
smartquotes_action = "q"

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
# The docstrings say the types, and what a value means besides.
autodoc_typehints = "none"

html_theme = "furo"
html_title = f"daemonry {release}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False

man_pages = [("daemonry.1", "daemonry", "starts any program as a well-behaved daemon, and controls it", [], 1)]
# They are in the page's own text where they matter.
man_show_urls = False
