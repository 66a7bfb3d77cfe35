"""Nothing but plain data crosses from the student's process to the grader."""

import io
import pickle
import struct
from typing import NamedTuple

import pytest
import torch

from llama_mini.teach.grade.channel import LIMIT, Broken, plain, receive, send


def through(value):
    buffer = io.BytesIO()
    send(buffer, value)
    buffer.seek(0)
    return receive(buffer)


def test_plain_data_arrives_as_it_was_sent():
    value = ("value", {"a": [1, 2.5, None, True, "π"], "b": (torch.arange(3),)})
    arrived = through(value)
    assert torch.equal(arrived[1]["b"][0], torch.arange(3))
    assert arrived[0] == "value"
    assert arrived[1]["a"] == value[1]["a"]


def test_a_view_is_sent_without_the_storage_behind_it():
    buffer = io.BytesIO()
    send(buffer, plain(torch.zeros(10**6)[:3]))
    assert len(buffer.getvalue()) < 5000


class Pair(NamedTuple):
    keys: torch.Tensor
    values: int


def test_named_tuples_and_sparse_tensors_arrive_as_plain_ones():
    keys, value = through(plain(Pair(torch.eye(3).to_sparse(), 4)))
    assert torch.equal(keys, torch.eye(3))
    assert value == 4


def test_other_kinds_are_named():
    with pytest.raises(TypeError, match="Linear"):
        plain([torch.nn.Linear(1, 1)])


class Code:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize(
    "message", [pickle.dumps(Code(), protocol=2), b"", b"not a value"], ids=["code", "nothing", "noise"]
)
def test_hostile_messages_are_no_value(message, capsys):
    with pytest.raises(Broken):
        receive(io.BytesIO(struct.pack(">Q", len(message)) + message))
    assert capsys.readouterr().out == ""


def test_the_end_and_an_endless_message_are_no_value():
    with pytest.raises(Broken):
        receive(io.BytesIO(b""))
    with pytest.raises(Broken):
        receive(io.BytesIO(struct.pack(">Q", LIMIT + 1)))
    with pytest.raises(Broken, match=f"at most {LIMIT}"):
        through(torch.zeros(LIMIT // 4 + 1))
