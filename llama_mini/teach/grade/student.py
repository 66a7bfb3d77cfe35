"""The student's process: runs the answer, and returns its results over its socket to the grader."""

import os
import socket
from typing import Any

from llama_mini.teach.check.exercise import Mistake, guarded
from llama_mini.teach.grade.answer import run_answer
from llama_mini.teach.grade.channel import Broken, Stream, plain, receive, send
from llama_mini.teach.grade.limits import limit


def main(grader: socket.socket) -> None:
    """Say ready, take the job, then answer one call after another until the grader hangs up."""
    channel = grader.makefile("rwb")
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    reply(channel, "ready")
    job = receive(channel)
    limit(job["seconds"], job["megabytes"])
    try:
        answer = run_answer(job["cells"], job["name"])
    except Mistake as mistake:
        reply(channel, "mistake", str(mistake))
        return
    if callable(answer):
        reply(channel, "function")
        serve(channel, guarded(answer))
    else:
        reply(channel, "value", answer)


def serve(channel: Stream, answer: Any) -> None:
    """Call the answer on each tuple of arguments that arrives."""
    while True:
        try:
            args = receive(channel)
        except Broken:
            return
        try:
            result = answer(*args)
        except Mistake as mistake:
            reply(channel, "mistake", str(mistake))
        else:
            reply(channel, "value", result)


def reply(channel: Stream, kind: str, value: Any = None) -> None:
    """Send one (kind, value); of a value that is not plain data, the name of its type."""
    try:
        send(channel, (kind, plain(value)))
    except TypeError as unknown:
        send(channel, ("other", str(unknown)))
    except Broken as too_long:
        send(channel, ("mistake", f"your result is too large: {too_long}"))
