"""At every system call of a start and of a stop something goes wrong once, and what is said and left behind is judged.

``subject`` is the program, ``variants`` its options; ``tapping`` puts strace at one of its processes, and ``running``
runs it once. ``recording`` answers the calls that a process makes, ``errnos`` how each can fail, and ``injecting`` lets
that happen, or sends a signal. ``judging`` and ``judging_kills`` say what became of it, ``matrix`` goes through all
cases, and ``table`` shows the counts.
"""
