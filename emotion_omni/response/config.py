"""Settings of the planner and of the responders. Imports no torch.

Revisions are commits, so that the same settings are the same weights next year.
"""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from typing import Literal

from emotion_omni.strict import Pinned, Precision, Strict
from emotion_omni.types import EmotionOmniError


@dataclass(frozen=True)
class PlannerConfig(Strict):
    """``news``: what reads good and bad news in the words, ``guard`` or ``none``; with none only the voice counts.

    ``weights``: a ``guard.safetensors``; empty for the one that comes with the package. The responder smollm2 uses the
    same guard.
    """

    news: Literal["guard", "none"] = "guard"
    weights: str = ""


@dataclass(frozen=True)
class SmolLM2Config(Strict):
    """SmolLM2-135M with our adapter, on the CPU.

    ``weights``: a ``responder.safetensors``; empty for the one that comes with the package.
    """

    kind: Literal["smollm2"] = "smollm2"
    weights: str = ""


@dataclass(frozen=True)
class Qwen2Config(Strict):
    """Qwen2.5-1.5B in four bits with our adapter, on the CPU: the best of ``candidates`` begun replies.

    ``weights``, ``reranker``: files; empty for those that come with the package. ``fluency``: what one nat of mean log
    probability counts beside the reranker's logits. ``openers``: whether a short word or two, whose speech is kept, is
    said while the rest is written.
    """

    kind: Literal["qwen2"] = "qwen2"
    candidates: int = 4
    temperature: float = 0.4
    top_p: float = 0.92
    top_k: int = 30
    fluency: float = 10.0
    openers: bool = True
    weights: str = ""
    reranker: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("candidates", "temperature", "top_p", "top_k")
        self._share("top_p")


@dataclass(frozen=True)
class RerankedConfig(Strict):
    """Replies of a bank and of SmolLM2, the best chosen by the reranker, on the CPU.

    ``retrieved``: replies to the nearest turns of the bank that are proposed, if the cosine of the words is at least
    ``min_similarity``. ``written``: replies that SmolLM2 proposes; 0 leaves it out. ``weights``, ``bank``,
    ``reranker``: files; empty for those that come with the package.
    """

    kind: Literal["reranked"] = "reranked"
    retrieved: int = 12
    min_similarity: float = 0.55
    written: int = 8
    weights: str = ""
    bank: str = ""
    reranker: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("retrieved")
        self._share("min_similarity")
        self._require(self.written >= 0, "written", "0 or more")


@dataclass(frozen=True)
class TransformersResponderConfig(Pinned):
    """Any causal language model of transformers with a chat template.

    ``four_bit`` keeps its weights in NF4 (Dettmers et al. 2023, "QLoRA"): a quarter of the memory, on a GPU only.
    ``temperature`` 0 is greedy; the other sampling settings are Qwen2.5's own.
    """

    name: str = "Qwen/Qwen2.5-7B-Instruct"
    revision: str = "a09a35458c702b33eeacc393d103063234e8bc28"
    kind: Literal["transformers"] = "transformers"
    dtype: Precision = "bfloat16"
    four_bit: bool = False
    temperature: float = 0.7
    top_p: float = 0.8
    top_k: int = 20
    max_new_tokens: int = 120  # about six spoken sentences

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("top_p", "top_k", "max_new_tokens")
        self._share("top_p")
        self._require(self.temperature >= 0, "temperature", "0 or more")

    def check_package(self) -> None:
        """Raises :class:`EmotionOmniError` (code ``missing-package``)."""
        if self.four_bit and importlib.util.find_spec("bitsandbytes") is None:
            raise EmotionOmniError(
                f"{self.name!r} needs a package that is not installed: with responder.four_bit it is bitsandbytes. "
                "Run: pip install bitsandbytes; or set four_bit to false.",
                "missing-package",
            )


@dataclass(frozen=True)
class OpenAIResponderConfig(Strict):
    """A language model behind any OpenAI-compatible server: vLLM, Ollama, llama.cpp or a hosted one.

    ``base_url``: up to where ``/chat/completions`` follows, e.g. ``http://127.0.0.1:11434/v1``. ``api_key_env``: the
    environment variable with the key; a key never stands in a file. Seconds: ``connect_timeout``, ``timeout`` to the
    first token, ``gap_timeout`` between tokens, ``total_timeout`` for a reply. ``retries``: further attempts before the
    first token. ``extra``: a JSON object merged into each request, such as ``{"reasoning_effort": "none"}``.
    """

    base_url: str
    model: str
    kind: Literal["openai"] = "openai"
    api_key_env: str = "OPENAI_API_KEY"
    temperature: float = 0.7
    top_p: float = 0.9
    max_tokens: int = 120
    timeout: float = 30.0
    connect_timeout: float = 5.0
    gap_timeout: float = 10.0
    total_timeout: float = 60.0
    retries: int = 2
    extra: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.base_url.startswith(("http://", "https://")), "base_url", "an http:// or https:// address")
        self._require(bool(self.model.strip()), "model", "the name of a model of that server")
        self._positive("top_p", "max_tokens", "timeout", "connect_timeout", "gap_timeout", "total_timeout")
        self._share("top_p")
        self._require(self.temperature >= 0, "temperature", "0 or more")
        self._require(self.retries >= 0, "retries", "0 or more")
        self._require(not self.extra or _is_object(self.extra), "extra", "a JSON object, or empty")


LLM_URL, LLM_MODEL, LLM_KEY = "EMOTION_OMNI_LLM_URL", "EMOTION_OMNI_LLM_MODEL", "EMOTION_OMNI_LLM_KEY"
LLM_EXTRA = "EMOTION_OMNI_LLM_EXTRA"  # a JSON object for every request


def openai_from_environment(model: str = "") -> OpenAIResponderConfig:
    """The server that the environment names. ``model``: instead of the one that it names.

    Raises :class:`EmotionOmniError` (code ``config``).
    """
    url, model = os.environ.get(LLM_URL, ""), model or os.environ.get(LLM_MODEL, "")
    if not url or not model:
        raise EmotionOmniError(
            f"The engine llm needs a server and a model: set {LLM_URL} (such as http://127.0.0.1:11434/v1) and "
            f"{LLM_MODEL}, or name the model as llm:MODEL. A key, if the server asks for one, stands in {LLM_KEY}.",
            "config",
        )
    try:
        return OpenAIResponderConfig(url, model, api_key_env=LLM_KEY, extra=os.environ.get(LLM_EXTRA, ""))
    except EmotionOmniError as error:
        raise EmotionOmniError(f"{LLM_URL}, {LLM_MODEL}: {error}", "config") from error


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


ResponderConfig = SmolLM2Config | Qwen2Config | RerankedConfig | TransformersResponderConfig | OpenAIResponderConfig
