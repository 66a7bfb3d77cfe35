"""Records of instruction data sets as conversations, the lists of messages that tokenizer/chat.py writes."""

from collections.abc import Mapping, Sequence
from typing import Any

from llama_mini.tokenizer.chat import Message

SPEAKERS = {"system": "system", "human": "user", "gpt": "assistant"}  # of ShareGPT


def read_record(record: Mapping[str, Any]) -> list[Message]:
    """The conversation in a record of a data set: layouts of Alpaca, ShareGPT, or messages as they are here.

    Of a ShareGPT record its system text is kept, and what teaches: from the first human to the last answer.
    ValueError for another layout, an unknown speaker, or a record without an answer.
    """
    if "messages" in record:
        return list(record["messages"])
    if "instruction" in record and "output" in record:
        extra = {"input": record["input"]} if record.get("input") else {}
        user = {"role": "user", "content": record["instruction"], **extra}
        return [user, {"role": "assistant", "content": record["output"]}]
    if "conversations" in record:
        return read_sharegpt(record["conversations"])
    raise ValueError(
        f"a record with the keys {', '.join(map(repr, record))}: expected 'conversations' (ShareGPT), "
        "'instruction' and 'output' (Alpaca), or 'messages'"
    )


def read_sharegpt(turns: Sequence[Mapping[str, str]]) -> list[Message]:
    """ShareGPT's turns {"from": "human", "value": ...} as messages, without what teaches nothing."""
    if unknown := [turn["from"] for turn in turns if turn["from"] not in SPEAKERS]:
        raise ValueError(f"a turn of {unknown[0]!r}: known are {', '.join(SPEAKERS)}")
    messages: list[Message] = [{"role": SPEAKERS[turn["from"]], "content": turn["value"]} for turn in turns]
    asked = [i for i, message in enumerate(messages) if message["role"] == "user"]
    answered = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    if not asked or not answered or answered[-1] < asked[0]:
        raise ValueError(f"{len(turns)} turns, but none of gpt after one of human: nothing to learn")
    system = messages[: messages[0]["role"] == "system"]
    return [*system, *messages[asked[0] : answered[-1] + 1]]
