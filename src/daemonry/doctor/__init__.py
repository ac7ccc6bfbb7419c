"""Which properties of a well-behaved daemon hold for a live process, whoever wrote it, as /proc tells it.

Source: daemon(7), section "SysV Daemons"; proc_pid_stat(5), proc_pid_status(5), proc_pid_fd(5), proc_pid_fdinfo(5).
"""

from __future__ import annotations

import os

from . import descriptors, pidfile, place, rights, signals, standing
from .finding import Finding, Untold
from .reading import Subject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .finding import Answer

__all__ = ["Finding", "examine"]


def examine(pid: int, pidfile: str | None = None) -> tuple[Finding, ...]:
    """Return what there is to say of the process ``pid``: the same findings in the same order for every process.

    :param pidfile: the path of its pidfile; ``None`` to look for one among the files that it has open.
    :raises ProcessLookupError: when there is no such process, or it ends meanwhile; a zombie has ended.

    A process that holds its pidfile by the older locks of fcntl(2) must not ask about itself: they go as soon as it
    closes any descriptor of the file, and this opens and closes one.
    """
    with Subject.of(pid) as subject:
        subject.require_alive()
        subject.pidfile_path = pidfile
        findings = tuple(_find(question, subject) for question in QUESTIONS)
        # What was read of a process while it ended says nothing: its files vanish one by one, or become root's.
        subject.require_alive()
    return findings


def _find(question: Callable[[Subject], Answer], subject: Subject) -> Finding:
    name = question.__name__.replace("_", " ")
    try:
        ok, fact, advice = question(subject)
    except Untold as reason:
        ok, fact, advice = None, "can't be told", str(reason)
    except PermissionError:
        advice = "even root is refused it here" if os.geteuid() == 0 else "run as root, or as its user"
        ok, fact = None, "can't be seen"
    except OSError as error:
        ok, fact, advice = None, "can't be seen", str(error.strerror)
    except (ValueError, IndexError, KeyError) as error:  # no file of /proc is written alike by every kernel
        ok, fact, advice = None, "can't be told", f"/proc is not as expected here: {error!r}"
    return Finding(name=name, ok=ok, fact=_printable(fact), advice=_printable(advice))


def _printable(text: str) -> str:
    # Names of processes and files are anybody's choice, and may hold what makes a terminal do things.
    return text if text.isprintable() else ascii(text)[1:-1]


# Each answers for the process that the daemon is; a worker that it has forked is another matter.
QUESTIONS = (
    standing.session,
    standing.controlling_terminal,
    standing.parent,
    place.working_directory,
    place.root_directory,
    place.umask,
    descriptors.standard_descriptors,
    descriptors.other_descriptors,
    signals.ignored_signals,
    signals.blocked_signals,
    rights.user_and_group_ids,
    rights.way_back,
    rights.supplementary_groups,
    rights.capabilities,
    rights.core_limit,
    rights.no_new_privileges,
    pidfile.pidfile,
    pidfile.pidfile_lock,
)
