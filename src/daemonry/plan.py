"""Every option of a context, resolved in the launcher into the value that its step will use."""

from __future__ import annotations

import os
import sys

from .errors import InvalidOption
from .manager import starter as service_manager
from .steps import core_limit, descriptors, filesystem, identity, signals, streams
from .steps import pidfile as chosen
from .steps.environment import Environment, variables_of
from .system import forks
from .system.record import Record, once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType
    from typing import Any

    from .manager.notify import Manager
    from .options import Options
    from .steps.copies import Copies
    from .steps.streams import Stream
    from .steps.terminal import Terminal


READY_WHEN = ("auto", "manual")


class Detaching(Record):
    """Whether the program forks, and why."""

    detach: bool
    reason: str
    start_timeout: float | None

    def __str__(self) -> str:
        limit = f", ready within {self.start_timeout:g} seconds" if self.detach and self.start_timeout else ""
        return f"{'fork, setsid, fork' if self.detach else 'stay in the foreground'}: {self.reason}{limit}"


class LeavingInit(Record):
    """Whether the program leaves the number 1, in a container, to a process that does nothing else."""

    leave: bool

    @property
    def does_nothing(self) -> bool:
        """Whether the program keeps its number."""
        return not self.leave

    def __str__(self) -> str:
        return "fork: process 1 reaps, and passes signals on" if self.leave else "not process 1"


class Streams(Record):
    """Where descriptors 0, 1 and 2 will point; files opened by path are given to ``owner``."""

    streams: tuple[streams.Stream, ...]
    owner: tuple[int, int] | None

    def __str__(self) -> str:
        return ", ".join(str(stream) for stream in self.streams)


class Readiness(Record):
    """When the daemon counts as ready."""

    manual: bool

    @property
    def does_nothing(self) -> bool:
        """Whether the step only notes what is said when all of them are done: it does."""
        return True

    def __str__(self) -> str:
        return "when the body calls ready()" if self.manual else "when the body begins"


class PlannedStep(Record):
    """One step that ``open()`` would take; ``value`` is what it would use, ``None`` for a step without a value."""

    name: str
    value: Record | None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}: {self.value}"


VALUE_OF_STEP = {
    "reset_signals": "reset",
    "leave_init": "leaving_init",
    "detach": "detaching",
    "close_descriptors": "closing",
    "redirect_streams": "streams",
    "prevent_core_dump": "core_limit",
    "lock_pidfile": "pidfile",
    "change_root": "root",
    "change_working_directory": "working_directory",
    "set_umask": "umask",
    "clean_environment": "environment",
    "drop_privileges": "rights",
    "install_signal_handlers": "signals",
    "notify_ready": "readiness",
}


class Plan:
    """The values that the steps of a context use, each resolved once, when it is asked for first."""

    copies: Copies = ()
    """What will have to follow the streams when these are redirected; found when the other descriptors are closed."""

    idle: frozenset[str] = frozenset()
    """The steps whose values have nothing to do."""

    def __init__(self, options: Options, steps: Iterable[str], pid: int | None = None) -> None:
        self._pid = pid  # this process's, where it is known
        self._options = options
        self._steps = tuple(steps)

    def resolve(self) -> None:
        """Resolve every value that the steps, or ``open()`` itself, will use.

        :raises InvalidOption: when an option can't be meant as it stands.
        """
        # open() asks for these whatever the steps are, for the last ones when the environment may have been replaced.
        _ = self.readiness, self.manager, self.given, self.terminal
        values = {name: self.value_of(name) for name in self._steps}
        self.idle = frozenset(name for name, value in values.items() if value is not None and value.does_nothing)

    def resolved(self) -> tuple[PlannedStep, ...]:
        """Return the steps with the values that they would use.

        :raises InvalidOption: when an option that one of them, or ``open()`` itself, uses can't be meant.
        """
        self.resolve()
        return tuple(PlannedStep(name=name, value=self.value_of(name)) for name in self._steps)

    def value_of(self, step: str) -> Record | None:
        """Return the value that a step uses, ``None`` for one without a value."""
        return getattr(self, VALUE_OF_STEP[step]) if step in VALUE_OF_STEP else None

    @once
    def facts(self) -> service_manager.OwnFacts:
        return service_manager.OwnFacts(self._pid)

    @once
    def starter(self) -> service_manager.Starter:
        return service_manager.who_started(self.facts)

    @once
    def manager(self) -> Manager | None:
        """The service manager that waits for word of this process; ``None`` for none."""
        return service_manager.manager_of(self.starter, self.facts)

    @once
    def given(self) -> tuple[tuple[str, int], ...]:
        """The names and numbers of the descriptors that a service manager gave."""
        if "LISTEN_PID" not in self.facts.environment:
            return ()
        from .manager import listen

        return listen.given(self.facts.environment, self.facts.pid)

    @once
    def leaving_init(self) -> LeavingInit:
        return LeavingInit(leave="leave_init" in self._steps and self.facts.pid == 1)

    @once
    def detaching(self) -> Detaching:
        if "detach" not in self._steps:
            return Detaching(detach=False, reason="the context has no step detach", start_timeout=None)
        wanted = self._options.detach_process
        timeout = _seconds_or_none("start_timeout", self._options.start_timeout)
        if wanted not in (None, True, False):
            raise InvalidOption("detach_process", f"must be True, False or None, not {wanted!r}")
        if wanted and self.facts.pid == 1:
            raise InvalidOption(
                "detach_process", "process 1 can't detach: the system or the container ends with it; leave it to None"
            )
        if wanted is not None:
            return Detaching(detach=bool(wanted), reason="as asked", start_timeout=timeout)
        return Detaching(detach=self.starter.name is None, reason=f"started by {self.starter}", start_timeout=timeout)

    @once
    def closing(self) -> descriptors.Closing:
        preserved: Any = self._options.files_preserve
        if hasattr(preserved, "__next__") and not hasattr(preserved, "fileno"):
            # It gives its items once, and plan() may ask for them before open() does.
            self._options.files_preserve = list(preserved)
        logs = _logs()
        closing = descriptors.resolve(
            self._options.files_preserve,
            given=[fd for _, fd in self.given],
            of_streams=[number for stream in self.redirected for number in stream.descriptors],
            of_logging=(logs.descriptors() if logs else ()) if self._options.preserve_logging else None,
            handler_files=logs.files_of if logs else lambda _item: None,
            forked=forks.origin(self.facts.pid),
        )
        self._refuse_kept_below_three(closing)
        return closing

    def _refuse_kept_below_three(self, closing: descriptors.Closing) -> None:
        # Started with one of the three closed, the program's next file got that number, and a stream would be put
        # over it.
        taken = streams.taken_by_others(self.redirected)
        for name in streams.NAMES:
            number = streams.NAMES.index(name)
            if getattr(sys, f"__{name}__") is not None:
                continue
            if number in closing.kept or (closing.leaves_own and number in taken and descriptors.is_own(number)):
                raise InvalidOption(
                    "files_preserve",
                    f"descriptor {number} is a file to preserve, because {name} was closed when the program started; "
                    f"start it with {name} open, if only on {os.devnull}",
                )

    @once
    def streams(self) -> Streams:
        keep = not self.detaching.detach
        found = tuple(
            streams.resolve(name, getattr(self._options, name), self.root.path, keep) for name in streams.NAMES
        )
        return Streams(streams=found, owner=self._owner_of_files())

    def _owner_of_files(self) -> tuple[int, int] | None:
        if "drop_privileges" not in self._steps or self.rights.uid == 0 or os.geteuid() != 0:
            return None
        return self.rights.uid, self.rights.gid

    @once
    def redirected(self) -> tuple[Stream, ...]:
        """The streams that the step redirects; none where it is left out."""
        return self.streams.streams if "redirect_streams" in self._steps else ()

    @once
    def stderr_discarded(self) -> bool:
        """Whether nobody sees what is written to descriptor 2."""
        return any(stream.name == "stderr" and stream.discarded for stream in self.redirected)

    @once
    def core_limit(self) -> core_limit.CoreLimit:
        given = self._options._prevent_core
        is_kept = self.starter.name is not None and not self.detaching.detach
        return core_limit.resolve(not is_kept if given is None else bool(given))

    @once
    def pidfile(self) -> chosen.Pidfile:
        lock = chosen.lock_of(self._options.pidfile)
        chosen.require_usable_lock(lock)
        if "lock_pidfile" in self._steps:
            chosen.require_file_of_its_own(lock, self.redirected)
            getattr(lock, "take_over", bool)()
        return chosen.Pidfile(lock=lock)

    @once
    def root(self) -> filesystem.RootDirectory:
        # Where the step is left out, the other directories are not inside it.
        path = self._options.chroot_directory if "change_root" in self._steps else None
        return filesystem.resolve_root(path)

    @once
    def working_directory(self) -> filesystem.WorkingDirectory:
        return filesystem.resolve_working_directory(self._options.working_directory, self.root)

    @once
    def umask(self) -> filesystem.Umask:
        return filesystem.resolve_umask(self._options.umask)

    @once
    def environment(self) -> Environment:
        variables = variables_of(self._options.environment)
        return Environment(variables=variables, login=self._login(variables))

    def _login(self, given: dict[str, str] | None) -> dict[str, str | None]:
        if "drop_privileges" not in self._steps or not self.rights.other_user:
            return {}
        from .steps import accounts

        own = accounts.login_variables(self.rights.uid)
        return own if given is None else {name: given.get(name) for name in own}

    @once
    def rights(self) -> identity.Rights:
        options = self._options
        return identity.resolve(options.uid, options.gid, options.initgroups, options.no_new_privileges)

    @once
    def terminal(self) -> Terminal | None:
        """The controlling terminal, ``None`` where it stays as it is; what giving it up takes is loaded with it."""
        if "drop_privileges" not in self._steps or not self.rights.other_user:
            return None
        from .steps.terminal import Terminal

        return Terminal()

    @once
    def reset(self) -> signals.Reset:
        return signals.resolve_reset()

    @once
    def signals(self) -> signals.SignalMap:
        targets = self._options.signal_map
        return signals.resolve(signals.default_signal_map() if targets is None else targets, self._options)

    @once
    def readiness(self) -> Readiness:
        when = self._options._ready_when
        if when not in READY_WHEN:
            raise InvalidOption("ready", f"must be one of {', '.join(map(repr, READY_WHEN))}, not {when!r}")
        return Readiness(manual=when == "manual")

    @property
    def leaves_its_files(self) -> bool:
        """Whether modules may be out of the daemon's reach later: another root, or another user."""
        if "drop_privileges" in self._steps and self.rights.change and self.rights.uid != os.geteuid():
            return True
        return self.root.path is not None

    def address_sockets_to_this_process(self) -> None:
        """Put LISTEN_PID right after a fork; see sd_listen_fds(3)."""
        if self.given:
            os.environ["LISTEN_PID"] = str(os.getpid())


def _logs() -> ModuleType | None:
    """Return what knows logging's handlers; ``None`` where nobody has loaded logging, so that there are none."""
    if "logging" not in sys.modules:
        return None
    from .steps import logs

    return logs


def _seconds_or_none(option: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise InvalidOption(option, f"must be a number of seconds above 0, or None for no limit, not {value!r}")
    return float(value)
