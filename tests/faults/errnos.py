"""How each system call can fail: the errors of its manual page that correct arguments don't rule out.

EFAULT, EINVAL, EBADF and their like tell of wrong arguments, and are here only where an older kernel says so what it
does not know. ENOSYS, and EPERM with the younger calls, is what sandboxes answer (seccomp(2)).
"""

from __future__ import annotations

_PATH = ("EACCES", "EIO", "ELOOP", "ENOENT", "ENOMEM", "ENOTDIR")
_ENTRY = (*_PATH, "EPERM", "EROFS")

ERRNOS: dict[str, tuple[str, ...]] = {
    # Files. ``fstat`` is newfstatat of a descriptor alone, ``open for writing`` openat of a file that is made.
    "openat": (*_PATH, "EINTR", "EMFILE", "ENFILE", "EPERM"),
    "open for writing": (*_ENTRY, "EDQUOT", "EINTR", "EMFILE", "ENFILE", "ENOSPC", "EOPNOTSUPP"),
    "newfstatat": ("EACCES", "ELOOP", "ENOENT", "ENOMEM", "ENOTDIR"),
    "fstat": ("ENOMEM",),
    "faccessat2": (*_PATH, "ENOSYS", "EPERM"),
    "read": ("EINTR", "EIO"),
    "pread64": ("EINTR", "EIO"),
    "pwrite64": ("EDQUOT", "EFBIG", "EINTR", "EIO", "ENOSPC"),
    "write": ("EDQUOT", "EFBIG", "EINTR", "EIO", "ENOSPC", "EPIPE"),
    "close": ("EDQUOT", "EINTR", "EIO", "ENOSPC"),
    "getdents64": ("ENOENT",),
    "readlink": _PATH,
    "readlinkat": _PATH,
    "getcwd": ("EACCES", "ENOENT", "ENOMEM"),
    "chdir": _PATH,
    "chroot": (*_PATH, "EPERM"),
    "fchmod": ("EIO", "EPERM", "EROFS"),
    "fchown": ("EIO", "EPERM", "EROFS"),
    "ftruncate": ("EINTR", "EIO", "EPERM"),
    "utimensat": ("EACCES", "ENOSYS", "EPERM", "EROFS"),
    "linkat": (*_ENTRY, "EDQUOT", "EEXIST", "EMLINK", "ENOSPC", "EXDEV"),
    "unlink": (*_ENTRY, "EBUSY"),
    # Of a name in an open directory, in which nothing is followed: neither ELOOP nor ENOTDIR. Not ENOENT: a draft of
    # which that is said has been taken away by somebody else, and is not looked for.
    "unlinkat": ("EACCES", "EBUSY", "EIO", "ENOMEM", "EPERM", "EROFS"),
    # Descriptors. ``duplicate`` is fcntl with F_DUPFD_CLOEXEC, ``lock`` fcntl with the commands that lock.
    "duplicate": ("EINVAL", "EMFILE"),
    "lock": ("EACCES", "EAGAIN", "EINTR", "EINVAL", "ENOLCK"),
    "dup": ("EMFILE",),
    "dup2": ("EBUSY", "EINTR", "EMFILE"),
    "dup3": ("EBUSY", "EINTR", "EMFILE"),
    "pipe2": ("EMFILE", "ENFILE"),
    "close_range": ("EMFILE", "ENOMEM", "ENOSYS", "EPERM"),
    "ioctl": ("ENOTTY",),
    "poll": ("EINTR", "ENOMEM"),
    # Processes and their rights
    "clone": ("EAGAIN", "ENOMEM"),
    "setsid": ("EPERM",),
    "wait4": ("ECHILD", "EINTR"),
    "pidfd_open": ("EMFILE", "ENFILE", "ENODEV", "ENOMEM", "ENOSYS", "EPERM", "ESRCH"),
    "prctl": ("EINVAL", "ENOSYS", "EPERM"),
    "prlimit64": ("EPERM",),
    "capget": ("EPERM",),
    # keyctl_join_session_keyring(3); EINTR while another process joins one, which no page says.
    "keyctl": ("EACCES", "EDQUOT", "EINTR", "ENOMEM", "ENOSYS", "EPERM"),
    "setgid": ("EAGAIN", "EPERM"),
    "setuid": ("EAGAIN", "EPERM"),
    "setgroups": ("ENOMEM", "EPERM"),
    "setresgid": ("EAGAIN", "EPERM"),
    "setresuid": ("EAGAIN", "EPERM"),
    # Others
    "socket": ("EACCES", "EAFNOSUPPORT", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"),
    "connect": ("EACCES", "EAGAIN", "ECONNREFUSED", "EINTR", "ENOENT"),
    "sendmsg": ("EACCES", "EAGAIN", "ECONNREFUSED", "EINTR", "ENOBUFS", "ENOMEM", "EPIPE"),
    "getrandom": ("EINTR",),  # without it Python keeps /dev/urandom open
}

_MEMORY = "Python's memory: wherever it is refused, Python raises MemoryError or ends"
_CANNOT = "can't fail with correct arguments"

# The subject's own: for strace, for SIGTERM (by one or the other, as Python's version will have it), and again what
# strace has interrupted.
WAITING = ("recvfrom", "clock_nanosleep", "select", "pselect6", "restart_syscall")

LEFT_OUT: dict[str, str] = {
    **dict.fromkeys(("brk", "madvise", "mmap", "mprotect", "mremap", "munmap"), _MEMORY),
    **dict.fromkeys(("rt_sigaction", "rt_sigpending", "rt_sigprocmask", "sigaltstack"), _CANNOT),
    **dict.fromkeys(("getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid"), _CANNOT),
    **dict.fromkeys(("getresuid", "getresgid", "getgroups", "getsid", "umask", "uname", "lseek", "fcntl"), _CANNOT),
    "futex": "Python's locks, which no second thread contends for",
    **dict.fromkeys(WAITING, "the subject's own, where it waits"),
    "rt_sigreturn": "the return from a handler",
    "exit_group": "does not return",
    "isatty": "TCGETS, whose ordinary answer is an error already",
}


def kind_of(name: str, text: str) -> str:
    """Return under which name ``ERRNOS`` or ``LEFT_OUT`` has a call that strace writes so."""
    if name == "newfstatat" and "AT_EMPTY_PATH" in text:
        return "fstat"
    if name == "openat" and ("O_CREAT" in text or "O_TMPFILE" in text):
        return "open for writing"
    if name == "ioctl" and "TCGETS" in text:
        return "isatty"
    if name == "fcntl" and "F_DUPFD" in text:
        return "duplicate"
    if name == "fcntl" and "LK" in text:
        return "lock"
    return name
