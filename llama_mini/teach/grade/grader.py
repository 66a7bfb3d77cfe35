"""The grader, a fresh process: reads jobs on stdin, writes a list of {"share", "text"} on stdout.

It knows the exercises and never runs a student's code: forks do, made before the first exercise is read.
"""

import json
import os
import signal
import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout, suppress

import torch

from llama_mini.teach.grade import student
from llama_mini.teach.grade.judge import judge
from llama_mini.teach.grade.limits import close_to_others, drop_rights, kill_children, limit


def main(count: int) -> None:
    """Start a process for each of so many answers, judge them all, and leave nothing of them running."""
    torch.set_num_threads(1)
    close_to_others()
    sockets: list[socket.socket] = []
    processes: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            processes.append(start(folder, sockets))
        try:
            verdicts = judged(json.load(sys.stdin), sockets)
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)
                os.waitpid(process, 0)
            kill_children()
    print(json.dumps(verdicts))


def start(folder: str, sockets: list[socket.socket]) -> int:
    """Fork one student's process; the grader's end of its channel joins the sockets."""
    ours, theirs = socket.socketpair()
    sockets.append(ours)
    process = os.fork()
    if process == 0:
        try:
            os.setsid()
            for grader in sockets:
                grader.close()
            os.chdir(folder)
            drop_rights()
            student.main(theirs)
        finally:
            os._exit(0)
    theirs.close()
    return process


def judged(jobs: list[dict], sockets: list[socket.socket]) -> list[dict]:
    """The verdicts, as many at once as there are cores; what a hidden cell prints is nobody's business."""
    limit(60 + sum(10 * job["seconds"] for job in jobs), 1024 + sum(4 * job["megabytes"] for job in jobs))
    with (
        open(os.devnull, "w") as silence,
        redirect_stdout(silence),
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        return list(pool.map(judge, jobs, sockets))


if __name__ == "__main__":
    main(int(sys.argv[1]))
