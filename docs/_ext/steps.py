"""The directive ``daemon-steps``: the list of steps, made from the tuple that ``open()`` runs."""

from __future__ import annotations

import inspect

from daemonry import DaemonContext


def listed() -> list[tuple[str, str]]:
    """Return each step's name with the first paragraph of its method's docstring."""
    return [(name, _first_paragraph(getattr(DaemonContext, name))) for name in DaemonContext.steps]


def _first_paragraph(method: object) -> str:
    return " ".join((inspect.getdoc(method) or "").split("\n\n")[0].split())


def setup(app: object) -> dict[str, bool]:
    """Register the directive."""
    from docutils.parsers.rst import Directive
    from docutils.statemachine import StringList

    class DaemonSteps(Directive):
        def run(self) -> list[object]:
            from docutils import nodes

            lines = [line for name, text in listed() for line in (f"#. :meth:`~DaemonContext.{name}`: {text}",)]
            container = nodes.container()
            self.state.nested_parse(StringList(lines, source="steps"), self.content_offset, container)
            return container.children

    app.add_directive("daemon-steps", DaemonSteps)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True}
