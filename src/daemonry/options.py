"""The options of a context: what PEP 3143 names, and what this library adds."""

from __future__ import annotations

from .steps.signals import default_signal_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager
    from typing import Any, Union

    from .steps.filesystem import AnyPath
    from .steps.signals import Target

    StreamTarget = Union[AnyPath, int, Any, None]


def _telling_of_options(initialise: Any) -> Any:
    """Wrap an ``__init__`` so that its refusal of what it was given names the class, and the option that may be meant.

    Not by a parameter that takes whatever comes: the signature is what tools show and check.
    """

    def __init__(self: Options, *positions: object, **options: object) -> None:
        try:
            initialise(self, *positions, **options)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                from .system.misspelt import told_of

                told_of(error, type(self).__name__, positions, options, initialise)
            raise

    __init__.__wrapped__ = initialise  # type: ignore[attr-defined]
    __init__.__doc__, __init__.__qualname__ = initialise.__doc__, initialise.__qualname__
    return __init__


class Options:
    """The options of a :class:`~daemonry.DaemonContext`, as the user wrote them.

    Nothing is looked at before ``open()``.

    :param chroot_directory: path of the new root directory; ``None`` leaves the root.
    :param working_directory: path to work in, inside the new root.
    :param umask: int, the bits that new files don't get. 0, as PEP 3143 says; 0o022 or 0o027 is wiser.
    :param uid: number or name of the user to run as; ``None`` for the real user, which gives up set-uid elevation.
    :param gid: number or name of the group; ``None`` for the primary group of ``uid``, or the real group without one.
    :param initgroups: whether the supplementary groups become the user's. Otherwise they become none if ``uid`` or
        ``gid`` is given, and stay if neither is. An ordinary user who asks for his own ids keeps his groups.
    :param no_new_privileges: whether no program that is executed later can gain rights (set-uid bits, file
        capabilities); see prctl(2), PR_SET_NO_NEW_PRIVS.
    :param prevent_core: whether core files are prevented; not given, they are, but for a program that a service manager
        keeps in the foreground: there the limit is the manager's.
    :param detach_process: whether to fork; ``None`` forks unless a service manager, a container or inetd has started
        the program, or its parent is process 1 and it has no terminal.
    :param files_preserve: descriptors, files, sockets, logging handlers or loggers that stay open, and no others;
        ``None`` for all that the program has opened itself, so that only what was inherited is closed.
    :param preserve_logging: whether the descriptors of all logging handlers stay open; if not, the handlers are closed.
    :param pidfile: path of the pidfile, which is held as by a :class:`~daemonry.pidfile.PIDLockFile`; or a context
        manager that is entered while the program is still privileged; ``None`` for none.
    :param stdin: what descriptor 0 becomes: ``None`` (``/dev/null``, or unchanged if the program doesn't fork), a path,
        a descriptor, a file, or an object without descriptor, which becomes ``sys.stdin``.
    :param stdout: the same for descriptor 1; a path is opened to append, made with mode 0640 and given to ``uid``.
    :param stderr: the same for descriptor 2.
    :param signal_map: mapping of signals to what they do; ``None`` for :func:`~daemonry.default_signal_map`. SIGTERM
        calls :meth:`~daemonry.DaemonContext.terminate` also when a map leaves it out and the program has no handler for
        it.
    :param environment: mapping that replaces the environment, to the letter; ``None`` keeps it, but for HOME, LOGNAME,
        SHELL and USER, which become those of ``uid`` in the user database if that is another user.
    :param ready: ``"auto"``: the daemon is ready when the body begins; ``"manual"``: when it calls ``ready()``.
    :param start_timeout: seconds until the daemon must be ready, or it is ended; ``None`` for no limit. Only the
        launcher of a program that forks keeps the time.
    """

    # Slots, so that a misspelt option can't be assigned; subclasses, which have attributes of their own, may.
    __slots__ = (
        "_prevent_core",
        "_ready_when",
        "chroot_directory",
        "detach_process",
        "environment",
        "files_preserve",
        "gid",
        "initgroups",
        "no_new_privileges",
        "pidfile",
        "preserve_logging",
        "signal_map",
        "start_timeout",
        "stderr",
        "stdin",
        "stdout",
        "uid",
        "umask",
        "working_directory",
    )

    def __init__(
        self,
        *,
        chroot_directory: AnyPath | None = None,
        working_directory: AnyPath = "/",
        umask: int = 0,
        uid: int | str | None = None,
        gid: int | str | None = None,
        initgroups: bool = False,
        no_new_privileges: bool = False,
        prevent_core: bool | None = None,
        detach_process: bool | None = None,
        files_preserve: Iterable[Any] | None = None,
        preserve_logging: bool = True,
        pidfile: AbstractContextManager[Any] | AnyPath | None = None,
        stdin: StreamTarget = None,
        stdout: StreamTarget = None,
        stderr: StreamTarget = None,
        signal_map: Mapping[Any, Target] | None = None,
        environment: Mapping[str, str] | None = None,
        ready: str = "auto",
        start_timeout: float | None = None,
    ) -> None:
        self.chroot_directory = chroot_directory
        self.working_directory = working_directory
        self.umask = umask
        self.uid = uid
        self.gid = gid
        self.initgroups = initgroups
        self.no_new_privileges = no_new_privileges
        self._prevent_core = prevent_core
        self.detach_process = detach_process
        self.files_preserve = files_preserve
        self.preserve_logging = preserve_logging
        self.pidfile = pidfile
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.signal_map = default_signal_map() if signal_map is None else signal_map
        self.environment = environment
        self.start_timeout = start_timeout
        self._ready_when = ready
        if isinstance(pidfile, (str, bytes)):
            # What open() will take, before: as a program that makes a lock itself has it by then.
            from .pidfile import lock as pidfile_lock  # noqa: F401
        self._set_up()

    if not TYPE_CHECKING:
        __init__ = _telling_of_options(__init__)

    @property
    def prevent_core(self) -> bool | None:
        """Whether core files are prevented; true when it was not given."""
        return True if self._prevent_core is None else self._prevent_core

    @prevent_core.setter
    def prevent_core(self, prevent: bool | None) -> None:
        self._prevent_core = prevent

    def _set_up(self) -> None:
        """Make the state of a context; called once, when its options are set."""
