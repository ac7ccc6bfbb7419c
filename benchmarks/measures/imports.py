"""What an import costs by itself."""

from __future__ import annotations

from ..launching import PATIENCE, Setting
from ..peers import Subject
from ..rows import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..bench import Bench


def measure(bench: Bench) -> list[Row]:
    """Run a program that imports a subject and ends, beside one that imports nothing."""
    row = Row("import", "a program that only imports it", "ms")
    programs = {subject.name: subject for subject in bench.subjects if subject.is_python}

    def once(name: str) -> list[tuple[Row, float]]:
        program = Subject(name, (programs[name].words[0], "-c", programs[name].imports))
        with bench.runner.launched(program, Setting()) as launcher:
            return [(row, (launcher.wait(PATIENCE) - launcher.executed) / 1e6)]

    bench.take_turns([row], programs, once)
    return [row]
