"""The subcommands, and what their help says."""

from __future__ import annotations

from ..system.record import Record


class Command(Record):
    """A subcommand: the module and the function that do it, what it takes, and what its help says.

    :ivar adds: ``str``, the function that adds its flags.
    :ivar target: ``str``, what the help calls the daemon that it takes.
    :ivar several: ``bool``, whether it takes more than one.
    :ivar takes_all: ``bool``, whether it has a flag ``--all``.
    :ivar is_optional: ``bool``, whether it needs none.
    :ivar is_plain: ``bool``, whether it is mostly asked with no other flags than ``--json`` and ``--quiet``.
    """

    module: str
    function: str
    adds: str = ""
    target: str = ""
    several: bool = False
    takes_all: bool = False
    is_optional: bool = False
    is_plain: bool = False
    summary: str
    usage: str
    examples: tuple[str, ...]


COMMANDS = {
    "start": Command(
        module="running",
        function="start",
        adds="add_program",
        summary="start a program as a daemon",
        usage="[options] -- PROGRAM [ARG ...]",
        examples=(
            "daemonry start --name web --wait-port 8000 -- python3 -m http.server -d /srv/www 8000",
            "daemonry start --name cache --user redis --notify -- redis-server --supervised systemd",
            "daemonry start --pidfile /run/job.pid --output /var/log/job.log --restart -- ./job --all",
        ),
    ),
    "run": Command(
        module="running",
        function="run",
        adds="add_program",
        summary="the same in the foreground, for containers and for looking on",
        usage="[options] -- PROGRAM [ARG ...]",
        examples=("daemonry run --name web --user www-data -- python3 -m http.server -d /srv/www 8000",),
    ),
    "stop": Command(
        module="steering",
        function="stop",
        adds="add_stop",
        target="NAME|PIDFILE",
        several=True,
        takes_all=True,
        summary="stop daemons",
        usage="[options] NAME|PIDFILE ... | --all",
        examples=("daemonry stop web db", "daemonry stop --schedule INT/5/KILL/5 /run/job.pid", "daemonry stop --all"),
    ),
    "restart": Command(
        module="running",
        function="restart",
        adds="add_restart",
        takes_all=True,
        summary="stop daemons and start them again",
        usage="[options] NAME ... | --all | [options] -- PROGRAM [ARG ...]",
        examples=("daemonry restart web db", "daemonry restart --name web -- python3 -m http.server -d /srv/www 8001"),
    ),
    "reload": Command(
        module="steering",
        function="reload",
        target="NAME|PIDFILE",
        several=True,
        takes_all=True,
        summary="let daemons read their configuration again (SIGHUP)",
        usage="NAME|PIDFILE ... | --all",
        examples=("daemonry reload web",),
    ),
    "signal": Command(
        module="steering",
        function="signal",
        adds="add_signal",
        target="NAME|PIDFILE",
        several=True,
        takes_all=True,
        summary="send daemons a signal",
        usage="NAME|PIDFILE ... SIGNAL | --all SIGNAL",
        examples=("daemonry signal web USR1", "daemonry signal --all USR1"),
    ),
    "status": Command(
        module="asking",
        function="status",
        adds="add_watch",
        target="NAME|PIDFILE",
        is_optional=True,
        is_plain=True,
        summary="tell whether a daemon runs, or all do",
        usage="[--json] [--watch] [NAME|PIDFILE]",
        examples=("daemonry status web", "daemonry status --json /run/job.pid", "daemonry status --watch"),
    ),
    "list": Command(
        module="asking",
        function="list_",
        adds="add_watch",
        summary="show the daemons that were started by name",
        usage="[--json] [--watch]",
        examples=("daemonry list", "daemonry list --watch"),
    ),
    "show": Command(
        module="keeping",
        function="show",
        adds="add_show",
        target="NAME",
        summary="show how a daemon was started",
        usage="[--json] NAME",
        examples=("daemonry show web",),
    ),
    "forget": Command(
        module="keeping",
        function="forget",
        target="NAME|PIDFILE",
        several=True,
        summary="take away what is kept of daemons that don't run; not their logs",
        usage="NAME|PIDFILE ...",
        examples=("daemonry forget web",),
    ),
    "logs": Command(
        module="asking",
        function="logs",
        adds="add_logs",
        target="NAME|PIDFILE",
        summary="show what a daemon has written",
        usage="[-f] [-n N] [--since TIME] NAME|PIDFILE",
        examples=("daemonry logs -f web", "daemonry logs -n 100 web", "daemonry logs --since 10m web"),
    ),
    "doctor": Command(
        module="asking",
        function="doctor",
        adds="add_json",
        target="PID|NAME|PIDFILE",
        summary="tell which properties of a well-behaved daemon a process has",
        usage="[--json] PID|NAME|PIDFILE",
        examples=("daemonry doctor web", "daemonry doctor 4242"),
    ),
    "plan": Command(
        module="running",
        function="plan",
        adds="add_plan",
        summary="tell what start would do, and start nothing",
        usage="[options] -- PROGRAM [ARG ...]",
        examples=("daemonry plan --name web --user www-data -- python3 -m http.server -d /srv/www 8000",),
    ),
    "unit": Command(
        module="units",
        function="unit",
        adds="add_unit",
        summary="print the unit by which a service manager runs a program",
        usage="--manager MANAGER [options] -- PROGRAM [ARG ...]",
        examples=(
            "daemonry unit --manager systemd --name web --user www-data -- python3 -m http.server 8000",
            "daemonry unit --manager runit --name web --user www-data -- python3 -m http.server 8000",
        ),
    ),
    "completion": Command(
        module="completion",
        function="completion",
        adds="add_completion",
        summary="print what a shell needs to complete these commands",
        usage="bash|zsh|fish",
        examples=(
            'eval "$(daemonry completion bash)"',
            "daemonry completion fish > ~/.config/fish/completions/daemonry.fish",
        ),
    ),
}
