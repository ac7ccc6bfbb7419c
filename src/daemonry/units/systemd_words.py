"""How words are written in a unit so that systemd reads the same ones; systemd.service(5), COMMAND LINES."""

from __future__ import annotations

import re

from .service import Unsayable

_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def command_line(words: tuple[str, ...]) -> str:
    """Return what stands behind ``ExecStart=``.

    :raises Unsayable: for a program whose path systemd refuses.
    """
    path, *arguments = words
    _require_program(path)
    # In the path a $ is a $, but in argv[0] it begins a variable; so there the two have to be written apart.
    first = f"{_quoted(f'@{path}')} {argument(path)}" if "$" in path else _quoted(path)
    return " ".join((first, *map(argument, arguments)))


def _require_program(path: str) -> None:
    # string_is_safe() of systemd refuses the path itself, however it is quoted.
    if re.search(r"[\x00-\x1f\x7f\"'\\]", path) or _is_not_text(path):
        raise Unsayable(f"systemd runs no program with quotes, backslashes or control characters in its path: {path!r}")


def argument(word: str) -> str:
    """Return one argument; a dollar would begin a variable, and a lone semicolon another command."""
    return _quoted(word.replace("$", "$$"))


def _quoted(word: str) -> str:
    word = word.replace("%", "%%")
    if _PLAIN.fullmatch(word):
        return word
    if all(_PLAIN.fullmatch(letter) or letter in "%$" for letter in word) and word:
        return word
    return f'"{"".join(map(_escaped, word))}"'


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter < " " or letter == "\x7f" or "\udc80" <= letter <= "\udcff":  # or a byte that is no UTF-8
        return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))
    return letter


def assignment(name: str, value: str) -> str:
    """Return what stands behind ``Environment=``.

    :raises Unsayable: for what systemd keeps out of an environment.
    """
    if not _NAME.fullmatch(name):
        raise Unsayable(f"--env: systemd sets no variable called {name!r}; letters, digits and _ are for names")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", value) or _is_not_text(value):
        raise Unsayable(f"--env: systemd sets no variable to control characters or bytes that are no UTF-8: {name}")
    return _quoted(f"{name}={value}")


def _is_not_text(word: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in word)


def path(flag: str, value: str) -> str:
    """Return a path that is alone behind its directive.

    :raises Unsayable: for one that can't be written there.
    """
    # These are read as they stand: what is at an end is stripped, a backslash there goes on in the next line.
    if re.search(r"[\x00-\x1f\x7f\"'\\]", value) or value != value.strip() or _is_not_text(value):
        raise Unsayable(
            f"{flag}: a unit can't say this path: {value!r}; use one without quotes, backslashes, control "
            "characters, and blanks at its ends"
        )
    return value.replace("%", "%%")


def path_in_list(value: str) -> str:
    """Return a path that may stand with others behind its directive."""
    return f'"{written}"' if " " in (written := path("--write", value)) else written


def text(value: str) -> str:
    """Return a description."""
    shown = value.encode("utf-8", "backslashreplace").decode() if _is_not_text(value) else value
    return "".join(letter if letter.isprintable() else " " for letter in shown).rstrip("\\").replace("%", "%%")
