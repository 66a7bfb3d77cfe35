"""A conversation with a model: ask, read the answer as it is written, ask again."""

from collections.abc import Iterator

import torch

from llama_mini.generate import Sampling, stream
from llama_mini.model import Llama
from llama_mini.tokenizer import Tokenizer
from llama_mini.tokenizer.chat import Message, chat_prompt, find_template

ONE_ROUND = ("alpaca",)  # templates without a past
USUAL = Sampling(temperature=0.7)


def usual_template(tokenizer: Tokenizer) -> str:
    """The template that a vocabulary has the markers of; ValueError if it does not say."""
    if "<|start_header_id|>" in tokenizer.special_tokens:
        return "llama-3"
    raise ValueError(
        f"this vocabulary of {len(tokenizer)} has no chat markers: name the template that the model was "
        "tuned with, alpaca, vicuna or llama-2"
    )


class Conversation:
    """A model, a template, and what has been said: `messages` grows by a question and an answer at a time.

    template: a name of tokenizer.chat.TEMPLATES, "llama-3" where the vocabulary has its markers. system: a
    text that stands before all others. When the context is full, the oldest rounds are forgotten.
    """

    def __init__(
        self,
        model: Llama,
        tokenizer: Tokenizer,
        *,
        template: str | None = None,
        system: str | None = None,
        sampling: Sampling = USUAL,
        max_new_tokens: int = 200,
        generator: torch.Generator | None = None,
    ):
        self.model, self.tokenizer = model, tokenizer
        self.template = template or usual_template(tokenizer)
        find_template(self.template)
        self.system: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self.messages: list[Message] = []
        self.sampling, self.max_new_tokens, self.generator = sampling, max_new_tokens, generator

    def answer(self, question: str) -> Iterator[str]:
        """The answer to a question, piece by piece; both join the messages once the answer is complete.

        ValueError, before any work, for what the template cannot write, or if the question alone leaves no
        room in the context for max_new_tokens.
        """
        asked: Message = {"role": "user", "content": question}
        past, prompt = self.fit(asked)
        rows = stream(
            self.model, [prompt], self.sampling,
            max_new_tokens=self.max_new_tokens, stop=self.tokenizer.stop_ids, generator=self.generator,
        )  # fmt: skip
        said = ""
        for piece in self.tokenizer.stream_decode(row[0] for row in rows if row[0] is not None):
            said += piece
            yield piece
        self.messages = [*past, asked, {"role": "assistant", "content": said.strip()}]

    def fit(self, asked: Message) -> tuple[list[Message], list[int]]:
        """As much of the past as the context has room for, whole rounds, and the prompt's ids with it."""
        past = [] if self.template in ONE_ROUND else self.messages
        room = self.model.config.max_seq_len - self.max_new_tokens
        while True:
            prompt = chat_prompt(self.tokenizer, [*self.system, *past, asked], self.template)
            if len(prompt) <= room or not past:
                return past, prompt
            past = past[2:]
