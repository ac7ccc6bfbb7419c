"""The environment that the daemon has in the place of the one it was started with. daemon(7), step 4."""

from __future__ import annotations

import os

from ..errors import InvalidOption
from ..system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Environment(Record):
    """The variables that replace the environment; ``None`` keeps it.

    ``login`` has those that tell a program whose it is, where that changes: ``None`` for each that it won't have.
    """

    variables: dict[str, str] | None
    login: dict[str, str | None]

    @property
    def does_nothing(self) -> bool:
        """Whether the environment stays."""
        return not self.changes

    def __str__(self) -> str:
        whole = "unchanged" if self.variables is None else f"replaced by {len(self.variables)} variables"
        told = [f"no {name}" if value is None else f"{name}={value}" for name, value in self.login.items()]
        return ", ".join(told if told and self.variables is None else [whole, *told])

    @property
    def changes(self) -> bool:
        """Whether it becomes another."""
        return self.variables is not None or bool(self.login)

    def of(self, present: Mapping[str, str]) -> dict[str, str]:
        """Return the environment that comes of the present one."""
        found = {**(present if self.variables is None else self.variables), **self.login}
        return {name: value for name, value in found.items() if value is not None}


def variables_of(given: Any) -> dict[str, str] | None:
    if given is None:
        return None
    try:
        items = list(given.items())
    except AttributeError as error:
        raise InvalidOption("environment", f"must be a mapping or None, not {given!r}") from error
    for name, value in items:
        if not _can_be_variable(name, value):
            raise InvalidOption(
                "environment", f"{name!r}: {value!r} can't be a variable: it takes two texts, and no = in the name"
            )
    return dict(items)


def _can_be_variable(name: Any, value: Any) -> bool:
    try:
        encoded = os.fsencode(name), os.fsencode(value)
    except (TypeError, UnicodeEncodeError):
        return False
    text = isinstance(name, str) and isinstance(value, str)
    return text and name != "" and "=" not in name and not any(b"\0" in each for each in encoded)


def replace(variables: dict[str, str]) -> None:
    """Have the process's environment be this, and no other."""
    os.environ.clear()
    os.environ.update(variables)
