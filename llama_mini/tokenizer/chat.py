"""A conversation as a model reads it: the templates of Alpaca, Vicuna, Llama 2 and 3, to ids and a mask.

A conversation is a list of messages {"role": ..., "content": ...}; roles are "system", "user", "assistant"
and, for Llama 3, "tool" (or "ipython", as Meta writes it). A template cuts it into parts, in order: special
tokens, and stretches of text, each marked as learned if the assistant has to say it. Every stretch is encoded
on its own, so the prompt for an answer is always the beginning of the conversation that holds it, id for id;
and as plain text, so a marker that a user types never becomes a special token.

A message may hold more: "input", a text that its content speaks of (Alpaca's data); for an assistant of
Llama 3, "code": True, it opens with <|python_tag|>, and "waits": True, it ends with <|eom_id|>, because the
result of a tool comes next.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llama_mini.tokenizer.base import Tokenizer

Message = Mapping[str, Any]
Messages = Sequence[Message]

ROLES = ("system", "user", "assistant", "tool", "ipython")
KEYS = ("role", "content", "input", "code", "waits")
OPENING: Message = {"role": "assistant", "content": None}  # the assistant is about to speak

ALPACA = (
    "Below is an instruction that describes a task{}. "
    "Write a response that appropriately completes the request."
)
ALPACA_INPUT = ", paired with an input that provides further context"
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
LLAMA2_MARKERS = ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")


class Part(NamedTuple):
    """A stretch of text, or a special token by its name ("bos_id" and "eos_id" by their role)."""

    text: str
    learned: bool = False
    special: bool = False


BOS, EOS = Part("bos_id", special=True), Part("eos_id", learned=True, special=True)


def encode_chat(tokenizer: Tokenizer, messages: Messages, template: str) -> tuple[list[int], list[bool]]:
    """Ids of a whole conversation, and which of them the assistant says.

    The mask is true at the tokens of the assistant's messages and at the token that ends each of them: the
    loss counts where they are the target. ValueError for a conversation that does not end with the assistant,
    that the template cannot write, or for a vocabulary without its special tokens.
    """
    parts = find_template(template)(checked(messages))
    if messages[-1]["role"] != "assistant":
        raise ValueError(
            f"message {len(messages) - 1}, the last, is the {messages[-1]['role']}'s, who teaches nothing: "
            "leave it out, or ask chat_prompt for what comes before an answer"
        )
    return ids_and_mask(tokenizer, parts)


def chat_prompt(tokenizer: Tokenizer, messages: Messages, template: str) -> list[int]:
    """Ids of a conversation up to where the assistant begins to answer; ValueError as in encode_chat."""
    write = find_template(template)
    if checked(messages)[-1]["role"] in ("assistant", "system"):
        raise ValueError(
            f"message {len(messages) - 1}, the last, is the {messages[-1]['role']}'s: "
            "end with what the assistant shall answer"
        )
    return ids_and_mask(tokenizer, write([*messages, OPENING]))[0]


def ids_and_mask(tokenizer: Tokenizer, parts: Iterator[Part]) -> tuple[list[int], list[bool]]:
    """The ids of parts, and whether each is learned.

    Text after a special token is a text of its own, as for encode(special=True); text after text goes on.
    """
    ids: list[int] = []
    mask: list[bool] = []
    after_text = False
    for part in parts:
        if part.special:
            new = [special_id(tokenizer, part.text)]
        else:
            new = tokenizer.encode_rest(part.text) if after_text else tokenizer.encode_plain(part.text)
        ids += new
        mask += [part.learned] * len(new)
        after_text = not part.special
    return ids, mask


def special_id(tokenizer: Tokenizer, name: str) -> int:
    """The id of a special token; ValueError if this vocabulary lacks it."""
    roles = {"bos_id": tokenizer.bos_id, "eos_id": tokenizer.eos_id}
    token = roles[name] if name in roles else tokenizer.special_tokens.get(name)
    if token is None:
        raise ValueError(f"this vocabulary of {len(tokenizer)} has no {name}, which the template needs")
    return token


def checked(messages: Messages) -> Messages:
    """The messages themselves; ValueError, with the number of the message, for what is none."""
    if not messages:
        raise ValueError("a conversation of 0 messages: give it at least one")
    for i, message in enumerate(messages):
        if message.get("role") not in ROLES or not isinstance(message.get("content"), str):
            raise ValueError(
                f"message {i} has role {message.get('role')!r} and content of type "
                f"{type(message.get('content')).__name__}: the role must be one of {', '.join(ROLES)}, "
                "the content text"
            )
        if unknown := [key for key in message if key not in KEYS]:
            raise ValueError(f"message {i} has the key {unknown[0]!r}; known are {', '.join(KEYS)}")
        if message["role"] != "assistant" and (message.get("code") or message.get("waits")):
            raise ValueError(f"message {i} is the {message['role']}'s: only the assistant calls tools")
    return messages


def text_of(message: Message) -> str:
    """The content, and after a blank line the input if there is one."""
    return "\n\n".join(filter(None, [message["content"], message.get("input")]))


def rounds(messages: Messages, template: str) -> tuple[str | None, list[tuple[Message, Message]]]:
    """The system text, or None, and the pairs of user and assistant; ValueError for any other order."""
    system = messages[0]["content"] if messages[0]["role"] == "system" else None
    start = 0 if system is None else 1
    for i, message in enumerate(messages[start:]):
        if message["role"] != (expected := ("user", "assistant")[i % 2]):
            raise ValueError(
                f"message {start + i} is the {message['role']}'s, expected the {expected}'s: in "
                f"{template!r} user and assistant take turns, after one system message at most"
            )
        if message.get("code") or message.get("waits"):
            raise ValueError(f"message {start + i} calls a tool, for which {template!r} has no words")
    return system, list(zip(messages[start::2], messages[start + 1 :: 2], strict=True))


def alpaca(messages: Messages) -> Iterator[Part]:
    """One instruction, with an input or without, and its response (Taori et al. 2023, train.py).

    The headings are ordinary text. Its own code encodes prompt and answer as one text, so an answer that
    begins with a quotation mark may share a token with the colon before it; here the colon stands alone, as
    it does at the end of a prompt.
    ValueError for a system text or a second round: the format has neither.
    """
    system, pairs = rounds(messages, "alpaca")
    if system is not None or len(pairs) != 1:
        raise ValueError(
            f"{len(messages)} messages, the first the {messages[0]['role']}'s: Alpaca's template has fixed "
            "first sentences, and room for one message of the user and one of the assistant"
        )
    ((user, answer),) = pairs
    extra = user.get("input")
    task = user["content"] + (f"\n\n### Input:\n{extra}" if extra else "")
    yield BOS
    yield Part(f"{ALPACA.format(ALPACA_INPUT if extra else '')}\n\n### Instruction:\n{task}\n\n### Response:")
    if answer["content"] is not None:
        yield from (Part(text_of(answer), learned=True), EOS)


def vicuna(messages: Messages) -> Iterator[Part]:
    """Vicuna 1.1: names before what each says, the end token after every answer (FastChat, conversation.py).

    The names are ordinary text. A system message takes the place of the usual first sentences.
    """
    system, pairs = rounds(messages, "vicuna")
    before = f"{VICUNA if system is None else system} "
    yield BOS
    for user, answer in pairs:
        yield Part(f"{before}USER: {text_of(user)} ASSISTANT:")
        before = ""
        if answer["content"] is not None:
            yield from (Part(f" {text_of(answer)}", learned=True), EOS)


def llama2(messages: Messages) -> Iterator[Part]:
    """Llama 2 and Code Llama chat: every round a sequence of its own (Meta's llama, generation.py).

    Its markers are ordinary text: ValueError for a message that contains one, which could speak for another.
    """
    for i, message in enumerate(messages):
        if found := [marker for marker in LLAMA2_MARKERS if marker in text_of(message)]:
            raise ValueError(
                f"message {i} contains {found[0]}, which in Llama 2's template is ordinary text: "
                "remove it, or the model cannot tell who speaks"
            )
    system, pairs = rounds(messages, "llama-2")
    before = "" if system is None else f"<<SYS>>\n{system}\n<</SYS>>\n\n"
    for user, answer in pairs:
        yield BOS
        yield Part(f"[INST] {(before + text_of(user)).strip()} [/INST]")
        before = ""
        if answer["content"] is not None:
            yield from (Part(f" {text_of(answer).strip()} ", learned=True), EOS)


def llama3(messages: Messages) -> Iterator[Part]:
    """Llama 3, 3.1, 3.2 text and 3.3: a header names who speaks, a token ends what is said (chat_format.py).

    All its markers are special tokens; the messages may come in any order. Our own vocabulary has them too.
    """
    yield BOS
    for message in messages:
        said = message["role"] == "assistant"
        role = "ipython" if message["role"] == "tool" else message["role"]
        yield Part("<|start_header_id|>", special=True)
        yield Part(role)
        yield Part("<|end_header_id|>", special=True)
        yield Part("\n\n")
        if message["content"] is None:
            return
        if message.get("code"):
            yield Part("<|python_tag|>", said, special=True)
        yield Part(text_of(message), said)
        yield Part("<|eom_id|>" if message.get("waits") else "<|eot_id|>", said, special=True)


TEMPLATES: dict[str, Callable[[Messages], Iterator[Part]]] = {
    "alpaca": alpaca,
    "vicuna": vicuna,
    "llama-2": llama2,
    "llama-3": llama3,
}


def find_template(name: str) -> Callable[[Messages], Iterator[Part]]:
    """The template of that name; ValueError with the known names."""
    if name not in TEMPLATES:
        raise ValueError(f"no template is called {name!r}; choose one of {', '.join(TEMPLATES)}")
    return TEMPLATES[name]
