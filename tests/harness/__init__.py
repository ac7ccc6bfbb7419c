"""How the tests run real daemons and read what became of them.

``daemons`` starts programs and ends whatever they leave, ``terminal`` gives one a terminal that can hang up,
``probe`` reads the facts of a process, ``waiting`` waits for events. ``startup`` is not imported by tests: it
lies on the path of programs that are to run as another user.
"""
