"""What a process may use from here on. POSIX only."""

import resource
import time


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
