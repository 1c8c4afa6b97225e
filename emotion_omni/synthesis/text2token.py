"""Text and an instruction → CosyVoice2 speech tokens, by the language model that comes with it.

A Qwen2 of 0.5 B reads [sos, instruction, end of prompt, text, task] and generates speech tokens of 6561 codes, 25 a
second. Knows nothing of sound: that is :mod:`emotion_omni.synthesis.token2wav`. The network is built here from
transformers' Qwen2 with the published weights, because the package's own loop gives each step an attention mask of
length one, which newer transformers take literally.

Axes: T positions, D width, S = 6561 codes and 3 special tokens. Source: Du et al. 2024, "CosyVoice 2" (arXiv
2412.10117); repetition-aware sampling: Chen et al. 2024, "VALL-E 2".
"""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from emotion_omni.chat_prompt import without_control_tokens
from emotion_omni.loading import dtype_on, explained, load_tokenizer
from emotion_omni.sampling import SamplingParams, sample_one
from emotion_omni.synthesis.cosyvoice2_folder import (
    existing,
    load_safetensors,
    load_strictly,
    save_safetensors,
    unpickle,
)
from emotion_omni.synthesis.cosyvoice2_networks import CODES

SOS, TASK = 0, 1  # rows of ``llm_embedding``
SPECIAL_TOKENS = 3  # after the codes: eos, task, fill
EOS = CODES
END_OF_PROMPT = "<|endofprompt|>"
MIN_RATIO, MAX_RATIO = 2, 20  # speech tokens for each text token: 0.08 s to 0.8 s
NUCLEUS, ALL = SamplingParams(top_p=0.8, top_k=25), SamplingParams()
REPETITION_WINDOW = 10  # a token among so many last ones is sampled again, from the whole distribution
FILES = ("CosyVoice-BlankEN/*.json", "CosyVoice-BlankEN/*.txt", "llm.pt")  # of the published folder, read here
WEIGHTS = "llm.safetensors"


class SpeechLanguageModel(nn.Module):
    """The network. ``config``: of its Qwen2. The attribute names are the keys of the published weights."""

    def __init__(self, config: transformers.Qwen2Config) -> None:
        super().__init__()
        self.llm = transformers.Qwen2Model(config)
        self.llm_embedding = nn.Embedding(2, config.hidden_size)
        self.speech_embedding = nn.Embedding(CODES + SPECIAL_TOKENS, config.hidden_size)
        self.llm_decoder = nn.Linear(config.hidden_size, CODES + SPECIAL_TOKENS)

    def prompt(self, text_ids: Tensor) -> Tensor:
        """Text ids [T], instruction first → input embeddings [1, T + 2, D]."""
        sos, task = self.llm_embedding.weight[[SOS, TASK]].unbind(0)
        return torch.cat([sos[None], self.llm.embed_tokens(text_ids), task[None]])[None]

    def forward(self, inputs_embeds: Tensor, kv_cache: Any = None) -> tuple[Tensor, Any]:
        """Input embeddings [1, T, D] after those in the cache → logits [S] of the next speech token, and the cache."""
        out = self.llm(inputs_embeds=inputs_embeds, cache=kv_cache, use_cache=True)
        return self.llm_decoder(out.last_hidden_state[0, -1]).float(), out.cache


class Text2Token:
    """The network with its tokenizer. Holds weights, never the state of a reply."""

    def __init__(self, model: SpeechLanguageModel, tokenizer: Any) -> None:
        self.model = model.eval().requires_grad_(False)
        self._tokenizer = without_control_tokens(tokenizer)
        self._end_of_prompt = tokenizer.get_vocab()[END_OF_PROMPT]

    @classmethod
    def load(cls, folder: str | Path, dtype: str, device: torch.device) -> Text2Token:
        """From a folder made by :func:`convert`, strictly.

        Raises :class:`EmotionOmniError` (codes ``missing``, ``checkpoint``, ``weights``, ``memory``).
        """
        folder = Path(folder) / "llm"
        existing(folder / WEIGHTS)
        with explained(str(folder)):
            config = transformers.Qwen2Config.from_pretrained(folder)
            model = SpeechLanguageModel(config).to(dtype_on(dtype, device))
            load_safetensors(model, folder / WEIGHTS)
            return cls(model.to(device), load_tokenizer(str(folder), ""))

    @torch.inference_mode()
    def generate(self, text: str, instruction: str = "", seed: int = 0) -> Generator[int, None, None]:
        """Speech tokens as they are sampled, at most ``MAX_RATIO`` for each text token; none for an empty text."""
        text_ids = self._encode(text)
        if not text_ids:
            return
        prefix = [*self._encode(instruction), self._end_of_prompt] if instruction else []
        model, generator = self.model, torch.Generator().manual_seed(seed)
        input_ids = torch.tensor([*prefix, *text_ids], device=model.llm_decoder.weight.device)
        inputs_embeds, kv_cache = model.prompt(input_ids), None
        generated: list[int] = []
        while len(generated) < MAX_RATIO * len(text_ids):
            logits, kv_cache = model(inputs_embeds, kv_cache)
            may_end = len(generated) >= MIN_RATIO * len(text_ids)
            logits[EOS + 1 if may_end else EOS :] = -torch.inf  # the other special tokens never
            token = _sample(logits, generator, generated)
            if token == EOS:
                return
            generated.append(token)
            yield token
            inputs_embeds = model.speech_embedding.weight[token][None, None]

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids


def _sample(logits: Tensor, generator: torch.Generator, generated: list[int]) -> int:
    """Repetition-aware sampling (VALL-E 2): from the nucleus; from the whole distribution if that would repeat."""
    token = sample_one(logits, NUCLEUS, generator)
    return sample_one(logits, ALL, generator) if token in generated[-REPETITION_WINDOW:] else token


def convert(official: str | Path, folder: str | Path) -> None:
    """The published ``llm.pt`` and tokenizer in ``official`` → ``folder``/llm for :meth:`Text2Token.load`.

    Raises :class:`EmotionOmniError` (codes ``missing``, ``checkpoint``, ``weights``).
    """
    official, folder = Path(official), Path(folder) / "llm"
    path, blank = existing(official / "llm.pt"), official / "CosyVoice-BlankEN"
    with explained(str(blank)):
        config = transformers.Qwen2Config.from_pretrained(blank)
        tokenizer = load_tokenizer(str(blank), "")
    tokenizer.add_tokens([END_OF_PROMPT], special_tokens=True)  # the first that CosyVoice2 adds, so it has the same id
    model = SpeechLanguageModel(config)
    load_strictly(model, _renamed(unpickle(path)), path)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=1, default=str) + "\n")
    save_safetensors(model, folder / WEIGHTS)


def _renamed(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published names → those of :class:`SpeechLanguageModel`, without the text head, which it never uses."""
    renamed = {}
    for published, weight in state_dict.items():
        name = published.removeprefix("llm.model.")
        if name != "lm_head.weight":
            renamed["llm." + name.removeprefix("model.") if name.startswith("model.") else name] = weight
    return renamed
