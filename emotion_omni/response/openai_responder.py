"""A responder behind any OpenAI-compatible server (vLLM, Ollama, llama.cpp, hosted), streamed over HTTP.

The server renders its own chat template, so a person's words are sent with ``<|`` broken up: they cannot become control
tokens. The key is read from the environment for each reply and appears in no error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any

import httpx

from emotion_omni.response.chat import clauses, messages, spoken_reply
from emotion_omni.response.config import OpenAIResponderConfig
from emotion_omni.types import EmotionOmniError, Exchange, Heard, Plan

MAX_ERROR = 200  # characters of a server's own message in ours


class OpenAIResponder:
    """Keeps nothing between replies. ``transport``: for tests."""

    def __init__(self, config: OpenAIResponderConfig, transport: httpx.BaseTransport | None = None) -> None:
        self.config, self._transport = config, transport

    @classmethod
    def load(cls, config: OpenAIResponderConfig) -> OpenAIResponder:
        """Does not call the server yet: it may start later than we do."""
        return cls(config)

    def reply(
        self, heard: Heard, plan: Plan, history: Sequence[Exchange] = (), *, seed: int = 0
    ) -> Generator[str, None, None]:
        """See :class:`emotion_omni.response.responder.Responder`. A seed repeats a reply only where the server does.

        Raises :class:`EmotionOmniError` (code ``server``).
        """
        return spoken_reply(heard, plan, seed, lambda: self._clauses(self.request(heard, plan, history, seed)))

    def request(self, heard: Heard, plan: Plan, history: Sequence[Exchange] = (), seed: int = 0) -> dict[str, Any]:
        """The JSON body of a call."""
        return {
            "model": self.config.model,
            "messages": messages(heard.transcript, plan, history, _content),
            "temperature": self.config.temperature,
            "top_p": self.config.top_p,
            "max_tokens": self.config.max_tokens,
            "seed": seed,
            "stream": True,
        }

    def _clauses(self, body: dict[str, Any]) -> Generator[str, None, None]:
        written: list[str] = []
        reasons: list[str] = []

        def texts() -> Generator[str, None, None]:
            with closing(self._choices(body)) as choices:
                for choice in choices:
                    written.append(str((choice.get("delta") or {}).get("content") or ""))
                    reasons.append(choice.get("finish_reason") or "")
                    yield "".join(written)

        with closing(texts()) as growing:
            yield from clauses(growing, lambda: "length" not in reasons)

    def _choices(self, body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        """The first choice of each server-sent event. Closing it closes the connection."""
        url = self.config.base_url.rstrip("/") + "/chat/completions"
        key = os.environ.get(self.config.api_key_env, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            with (
                httpx.Client(timeout=self.config.timeout, transport=self._transport) as client,
                client.stream("POST", url, json=body, headers=headers) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise self._refused(response)
                yield from self._events(response.iter_lines())
        except httpx.TimeoutException as error:
            raise EmotionOmniError(
                f"The language model server at {self.config.base_url} sent nothing for {self.config.timeout:g} s. "
                "Check that it is not overloaded, or raise responder.timeout.",
                "server",
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EmotionOmniError(
                f"The language model server at {self.config.base_url} cannot be reached ({type(error).__name__}). "
                "Start it, or correct responder.base_url.",
                "server",
            ) from error

    def _events(self, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
        for line in lines:
            field, _, data = line.partition(":")
            if field != "data" or not data.strip():
                continue  # comments that keep the connection open, and fields of no use here
            if data.strip() == "[DONE]":
                return
            try:
                choices = [dict(choice) for choice in json.loads(data)["choices"][:1]]  # none where usage is reported
            except (KeyError, TypeError, ValueError) as error:
                message = _short(_message(data) or data)
                raise EmotionOmniError(
                    f"The language model server at {self.config.base_url} broke off: {message}", "server"
                ) from error
            yield from choices

    def _refused(self, response: httpx.Response) -> EmotionOmniError:
        said = _short(_message(response.text) or response.reason_phrase)
        fix = {
            401: f"Set the environment variable {self.config.api_key_env} to a valid key.",
            403: f"Set the environment variable {self.config.api_key_env} to a key that may use this model.",
            404: "Check responder.model and responder.base_url, which ends where /chat/completions follows.",
            429: "It is out of quota or overloaded; try again later.",
        }.get(response.status_code, "Check responder.model and the log of the server.")
        return EmotionOmniError(
            f"The language model server at {self.config.base_url} refused the request for {self.config.model!r}: "
            f"{response.status_code}, {said} {fix}",
            "server",
        )


def _content(words: str, max_tokens: int) -> str:
    """A person's words without control tokens; a token has about four characters, and a word at least one."""
    return " ".join(re.sub(r"<(?=[|/\w])", "< ", words).split()[:max_tokens])[: 4 * max_tokens]


def _message(text: str) -> str:
    """The message in a server's error, in the forms of OpenAI, vLLM and Ollama."""
    try:
        error = json.loads(text).get("error")
    except (json.JSONDecodeError, AttributeError):
        return ""
    return str(error.get("message", "")) if isinstance(error, dict) else str(error or "")


def _short(text: str) -> str:
    text = " ".join(text.split())[:MAX_ERROR] or "no reason given"
    return text if text.endswith((".", "!", "?")) else text + "."
