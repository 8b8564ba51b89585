"""Projects whose functions end or block their process, print as they do, or leave children behind."""

from __future__ import annotations

from cluster.running import Place

CRASHES = {
    "a segmentation fault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "an abort": ("import os; os.abort()", "SIGABRT"),
    "a kill from outside": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    "a termination from outside": ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "SIGTERM"),
    "an exit with status 3": ("import os; os._exit(3)", "status 3"),
    "an exit with status 0": ("import os; os._exit(0)", "status 0"),
    "all descriptors closed": ("import os; os.closerange(0, 4096)", "clos"),
    "the end of its process group": ("import os; os.killpg(0, 9)", "SIGKILL"),
    "a recursion without end in C": (
        "import sys; sys.setrecursionlimit(10 ** 9); nest = []; [nest := [nest] for _ in range(10 ** 5)]; "
        "repr(nest)",
        "SIGSEGV",
    ),
}


def crashing(place: Place, statement: str, phase: str) -> None:
    """A project whose map or reduce function runs the statement at the second of three lines or keys."""
    place.feed("a", "b", "c")
    source = f"""
        def crash():
            {statement}

        def NAME(FIRST, auxiliary_data):
            key = getattr(FIRST, "key", FIRST)
            if key == "b":
                print("about to crash")
                crash()
            return [(key, 1)]
    """
    if phase == "map":
        place.functions(source.replace("NAME", "words").replace("FIRST", "line"))
    else:
        place.functions(reduce_source=source.replace("NAME", "total").replace("FIRST", "group"))


FORKS = {
    "of its process group": "subprocess.Popen(['sleep', '1000'])",
    "of a session of its own": "subprocess.Popen(['sleep', '1000'], start_new_session=True)",
    "that Python forked": "os.fork() or time.sleep(1000)",
    "that multiprocessing started": "multiprocessing.Process(target=time.sleep, args=(1000,)).start()",
    "whose parent has gone": "subprocess.run('setsid sleep 1000 >/dev/null 2>&1 &', shell=True)",
}


def forking(place: Place, statement: str, after: str = "pass") -> None:
    place.feed("a")
    place.functions(f"""
        import multiprocessing
        import os
        import subprocess
        import time

        def words(line, auxiliary_data):
            {statement}
            {after}
            return [(line, 1)]
    """)


PRINTS = {
    "a line": "print('dots...')",
    "a line to stderr": "sys.stderr.write('dots...\\n')",
    "a line of C code": "ctypes.CDLL(None).puts(b'dots...')",
    "a line of a child": "subprocess.run(['echo', 'dots...'])",
}


def last_print(place: Place, statement: str, after: str) -> None:
    """A project whose map function prints by one statement, and ends its process by the other, if it does."""
    place.feed("a")
    place.functions(f"""
        import ctypes
        import os
        import subprocess
        import sys

        def words(line, auxiliary_data):
            {statement}
            {after}
            return [(line, 1)]
    """)
