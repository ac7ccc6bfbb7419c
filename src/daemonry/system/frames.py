"""Tracebacks without the frames of this library: what is left of one is the program's own code."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any

_STANDARD = os.path.dirname(os.__file__) + os.sep
_SITES = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
_LOCKFILE = os.sep + "lockfile" + os.sep


def hide(error: BaseException) -> None:
    """Take the frames of this library out of an exception and all that it was raised for; called in its handler.

    A bare ``raise`` behind it adds none of the handler's own. What has happened in this library alone is no longer
    shown as a cause: the exception that is shown says it. What it has made of an error of the program's, and an
    exception from elsewhere (Ctrl-C) has displaced, is shown.
    """
    _cut_all(error)
    _handle_as_it_is(error)


def text_of(error: BaseException) -> tuple[str, bool]:
    """Return the text of an exception's traceback, and whether that has frames of the program's own.

    It has no others then. Otherwise it is whole, for nothing but this library can be looked at. The exception itself
    stays as it is.
    """
    import traceback

    told: Any = traceback.TracebackException(type(error), error, error.__traceback__)
    whole = "".join(told.format())
    _cut_all_told(told)
    return ("".join(told.format()), True) if told.stack else (whole, False)


def place_of(error: BaseException) -> str:
    """Say in which line of the program an exception was raised; empty when it was in none."""
    entries = list(_entries(error.__traceback__))
    names = [entry.tb_frame.f_code.co_filename for entry in entries]
    for entry, name, is_kept in reversed(list(zip(entries, names, _kept(names)))):
        if is_kept and not _is_helper(name):
            import linecache

            code = linecache.getline(name, entry.tb_lineno, entry.tb_frame.f_globals).strip()
            return f", in line {entry.tb_lineno} of {name}" + (f": {code}" if code else "")
    return ""


def _cut_all(error: BaseException, seen: frozenset[int] = frozenset()) -> bool:
    """Cut an exception and its causes; return whether something of its traceback is left, or there never was one."""
    if id(error) in seen:
        return True
    seen |= {id(error)}
    before, error.__traceback__ = error.__traceback__, _cut(error.__traceback__)
    for each in getattr(error, "exceptions", ()):
        _cut_all(each, seen)
    cause, context = error.__cause__, error.__context__
    if cause is not None and not _cut_all(cause, seen):
        error.__cause__ = cause.__cause__
    if context is not None and not error.__suppress_context__:
        error.__suppress_context__ = not _cut_all(context, seen) and context.__cause__ is None
    return before is None or error.__traceback__ is not None


def _cut_all_told(told: Any) -> bool:
    """The same for what the module traceback has made of an exception."""
    before = bool(told.stack)
    places = list(told.stack)
    told.stack[:] = [place for place, kept in zip(places, _kept([each.filename for each in places])) if kept]
    for each in getattr(told, "exceptions", None) or ():
        _cut_all_told(each)
    if told.__cause__ is not None and not _cut_all_told(told.__cause__):
        told.__cause__, told.__suppress_context__ = told.__cause__.__cause__, True
    context = told.__context__
    if context is not None and not told.__suppress_context__:
        told.__suppress_context__ = not _cut_all_told(context) and context.__cause__ is None
    return not before or bool(told.stack)


def _cut(trace: TracebackType | None) -> TracebackType | None:
    entries = list(_entries(trace))
    kept = _kept([entry.tb_frame.f_code.co_filename for entry in entries])
    shown: TracebackType | None = None
    for entry, is_kept in reversed(list(zip(entries, kept))):
        if is_kept:
            shown = type(entry)(shown, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return shown


def _entries(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _kept(names: list[str]) -> list[bool]:
    """Return which frames to show, of these files: what this library has called goes with it, unless a program did."""
    kept = [True] * len(names)
    start, is_called_by_us = 0, False
    for end in (*(place for place, name in enumerate(names) if name.startswith(_OWN)), len(names)):
        if is_called_by_us and all(_is_helper(name) for name in names[start:end]):
            kept[start:end] = [False] * (end - start)
        if end < len(names):
            kept[end] = False
        start, is_called_by_us = end + 1, True
    return kept


_OWN = os.path.dirname(os.path.dirname(hide.__code__.co_filename)) + os.sep


def _is_helper(name: str) -> bool:
    """Whether a file is the standard library's, or lockfile's."""
    is_installed = any(site in name for site in _SITES)
    return name.startswith("<frozen ") or (_LOCKFILE in name if is_installed else name.startswith(_STANDARD))


def _handle_as_it_is(error: BaseException) -> None:
    """Let a bare ``raise`` in our caller's handler take the exception's traceback as it is now."""
    if sys.version_info >= (3, 11):
        return  # it asks the exception
    try:
        from ctypes import py_object, pythonapi
    except (ImportError, OSError):  # or there is no descriptor to load it by: the outermost frames of ours are shown
        return
    parts = (type(error), error, error.__traceback__)
    for part in parts:
        if part is not None:
            pythonapi.Py_IncRef(py_object(part))  # the call takes one of each
    pythonapi.PyErr_SetExcInfo(*(None if part is None else py_object(part) for part in parts))
