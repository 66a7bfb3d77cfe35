"""What a process may do and use from here on. POSIX only."""

import ctypes
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_SET_DUMPABLE, _SET_CHILD_SUBREAPER, _CAPABILITY_VERSION_3 = 4, 36, 0x20080522  # linux/prctl.h, capability.h


def limit(seconds: float, megabytes: int) -> None:
    """Allow this process so many more seconds of CPU and megabytes of memory, and no file over 16 MB."""
    cpu = int(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**24, 2**24))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/statm") as pages:
            used = int(pages.read().split()[0]) * resource.getpagesize()
    except FileNotFoundError:  # macOS, whose kernel takes no notice of RLIMIT_AS either
        return
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20,) * 2)


def close_to_others() -> None:
    """Let no process of the same user look into this one, and make it the parent of orphans. Linux only."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
        libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def drop_rights() -> None:
    """Give up what root may do more than others, such as looking into the grader. Linux only."""
    if sys.platform == "linux":
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)())


def kill_children() -> None:
    """End every child of this process, and the orphans that come to it, until none is left."""
    lists = list(Path("/proc/self/task").glob("*/children"))  # Linux; elsewhere the process groups must do
    while children := [int(child) for path in lists for child in path.read_text().split()]:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
