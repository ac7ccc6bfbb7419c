"""One run: whom it measures, how often, and how it takes turns."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass

from .launching import Refused, Runner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .launching import Setting, Start
    from .peers import Subject
    from .rows import Row

    Question = tuple[Row, Callable[[Start], float]]


@dataclass
class Bench:
    """What every measure is given.

    :param rounds: how often each subject has its turn.
    :param quick: whether what takes long is to be left out.
    """

    runner: Runner
    subjects: list[Subject]
    rounds: int
    quick: bool = False

    def able(self, setting: Setting) -> dict[str, Subject]:
        """Return by name who can be started so."""
        return {
            subject.name: subject
            for subject in self.subjects
            if (setting.pidfile or not subject.needs_pidfile) and (subject.is_python or not setting.words)
        }

    def starts(self, setting: Setting, questions: list[Question], rounds: int | None = None) -> list[Row]:
        """Start every subject once a round, ask each start the questions in their order, and return their rows."""
        subjects = self.able(setting)
        rows = [row for row, _ in questions]

        def once(name: str) -> Iterable[tuple[Row, float]]:
            with self.runner.start(subjects[name], setting) as start:
                return [(row, ask(start)) for row, ask in questions]

        self.take_turns(rows, subjects, once, rounds)
        return rows

    def take_turns(
        self,
        rows: list[Row],
        names: Iterable[str],
        once: Callable[[str], Iterable[tuple[Row, float]]],
        rounds: int | None = None,
        refused: str = "does not come up",
    ) -> None:
        """Call for each name once a round, each round in another order; who is refused is told of, and left out."""
        order = list(names)
        for row in rows:
            row.values.update({name: [] for name in order})
        say(f"{rows[0].title}: {', '.join(order)}")
        for _ in range(rounds or self.rounds):
            random.shuffle(order)
            for name in tuple(order):
                try:
                    for row, value in once(name):
                        row.add(name, value)
                except Refused as refusal:
                    order.remove(name)
                    for row in rows:
                        row.values.pop(name, None)
                        row.notes[name] = f"{refused}: {_last_line(str(refusal))}"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1]


def say(text: str) -> None:
    """Tell whoever waits for the run."""
    print(text, file=sys.stderr, flush=True)
