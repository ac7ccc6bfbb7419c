"""Process 1 of a container: it reaps what others leave, passes signals on, and ends as the program ends.

The program itself must not be that process: who waits for every child takes from subprocess and from others the status
that they wait for; and to process 1 the kernel delivers no signal that it has no handler for.

Source: pid_namespaces(7), "The namespace init process"; kill(2), Notes.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from ..system import bare
from ..system.closing import close
from ..system.forks import fork
from ..system.undisturbed import children_kept, signals_held_off
from .report import pipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

_SI_KERNEL = 0x80


def leave_init(close_others: Callable[[Iterable[int]], object]) -> None:
    """Fork: return in the child, while this process stays until the child has ended, and ends with its status.

    :param close_others: closes all descriptors above 2 but the given ones, in the process that stays.
    :raises OSError: when no process can be forked.
    """
    with signals_held_off(), children_kept():
        reading, writing = pipe()
        try:
            try:
                program = fork()
                if program:
                    _stay(program, close_others)
            finally:
                close(writing)
            # It closes its end with all the others: a port or a lock that the program gives up from now on is free.
            bare.read(reading, 1)
        finally:
            close(reading)


def _stay(program: int, close_others: Callable[[Iterable[int]], object]) -> NoReturn:
    # By os._exit: this process is a copy of the program, and what the program does at its exit is not for it to do.
    status = 1
    try:
        # A socket that the program closes, or a lock that it gives up, must not live on here.
        close_others(())
        status = _keep(program)
    except BaseException as error:
        _say(f"failed: {error!r}")
    finally:
        os._exit(status)


def _keep(program: int) -> int:
    """Do what process 1 does until the program has ended; return its status as a shell would."""
    waited_for = signal.valid_signals()
    while (wait_status := _reap(program)) is None:
        signum = _next_signal(waited_for)
        if signum is not None:
            _pass_on(program, signum)
    if os.WIFSIGNALED(wait_status):
        return 128 + os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status)


def _reap(program: int) -> int | None:
    """Wait for all that have ended; return how the program has, if it is among them."""
    found = None
    with suppress(ChildProcessError):
        while (ended := bare.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == program:
                found = ended[1]
    return found


def _next_signal(waited_for: Iterable[int]) -> int | None:
    """Wait for a signal; return one that is the program's, ``None`` for ours or one that its terminal sent to both."""
    if not hasattr(signal, "sigwaitinfo"):
        signum = signal.sigwait(waited_for)
        return None if signum == signal.SIGCHLD else signum
    found = signal.sigwaitinfo(waited_for)
    return None if found.si_signo == signal.SIGCHLD or _was_sent_to_both(found) else found.si_signo


def _was_sent_to_both(found: signal.struct_siginfo) -> bool:
    # What is typed, the kernel sends to all in the foreground; of a hang-up it tells the session's leader alone.
    leads = os.getsid(0) == os.getpid()
    return found.si_code == _SI_KERNEL and not (found.si_signo == signal.SIGHUP and leads)


def _pass_on(program: int, signum: int) -> None:
    try:
        bare.kill(program, signum)  # it has not been waited for, so the number is still its own
    except PermissionError as error:
        _say(f"cannot pass signal {signum} on to process {program}: {error.strerror}; leave it CAP_KILL")


def _say(text: str) -> None:
    with suppress(OSError):  # nobody reads it
        bare.write(2, f"daemonry, process {os.getpid()}: {text}\n".encode())
