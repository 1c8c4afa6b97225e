"""Words and how to say them → CosyVoice2 speech tokens, by the language model that comes with it.

A Qwen2 of 0.5 B reads [start, instruction, end of prompt, words, speak] and then writes speech tokens of
6561 codes, 25 a second. Knows nothing of sound: :mod:`emotion_omni.synthesis.token2wav` makes it of the tokens.
The network is put together here from transformers' Qwen2, with the published weights: the package's own
step by step loop gives each step an attention mask of one place, which newer transformers take at its word.

Axes: T places, D width, S = 6561 codes and 3 marks. Source: Du et al. 2024, "CosyVoice 2" (arXiv 2412.10117);
repetition-aware sampling: Chen et al. 2024, "VALL-E 2".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn

from emotion_omni.chat_prompt import without_control_tokens
from emotion_omni.loading import dtype_on, explained, load_tokenizer
from emotion_omni.sampling import SamplingParams, sample_one
from emotion_omni.synthesis.token2wav import CODES, _existing, _fill, _unpickle
from emotion_omni.types import EmotionOmniError

START, SPEAK = 0, 1  # rows of the table of tasks
MARKS = 3  # after the codes: end, task, fill
END_OF_PROMPT = "<|endofprompt|>"
LEAST, MOST = 2, 20  # speech tokens for each text token: 0.08 s to 0.8 s
NUCLEUS = SamplingParams(top_p=0.8, top_k=25)
REPEATED = 10  # tokens; one that is among so many last ones is drawn again from the whole distribution
FILES = ("CosyVoice-BlankEN/*.json", "CosyVoice-BlankEN/*.txt", "llm.pt")  # of the published folder, read here


class SpeechLanguageModel(nn.Module):
    """The network. ``config``: of its Qwen2."""

    def __init__(self, config: transformers.Qwen2Config) -> None:
        super().__init__()
        self.llm = transformers.Qwen2Model(config)
        self.llm_embedding = nn.Embedding(2, config.hidden_size)
        self.speech_embedding = nn.Embedding(CODES + MARKS, config.hidden_size)
        self.llm_decoder = nn.Linear(config.hidden_size, CODES + MARKS)

    def prompt(self, text: Tensor) -> Tensor:
        """Text tokens [T], instruction first → inputs [1, T + 2, D]."""
        start, speak = self.llm_embedding.weight[[START, SPEAK]].unbind(0)
        return torch.cat([start[None], self.llm.embed_tokens(text), speak[None]])[None]

    def forward(self, inputs: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        """Inputs [1, T, D] after what the cache holds → scores [S] of the next speech token, and the cache."""
        out = self.llm(inputs_embeds=inputs, cache=cache, use_cache=True)
        return self.llm_decoder(out.last_hidden_state[0, -1]).float(), out.cache


class Text2Token:
    """The network with its tokenizer. Holds weights, never the state of a reply."""

    def __init__(self, model: SpeechLanguageModel, tokenizer: Any) -> None:
        self.model = model.eval().requires_grad_(False)
        self._words = without_control_tokens(tokenizer)
        self._end_of_prompt = tokenizer.get_vocab()[END_OF_PROMPT]

    @classmethod
    def load(cls, folder: str | Path, dtype: str, device: torch.device) -> Text2Token:
        """From a folder made by :func:`convert`; every weight must fit, or none is used.

        Raises :class:`EmotionOmniError` (codes ``missing``, ``checkpoint``, ``weights``, ``memory``).
        """
        folder = Path(folder) / "llm"
        path = _existing(folder / "llm.safetensors")
        with explained(str(folder)):
            config = transformers.Qwen2Config.from_pretrained(folder)
            model = SpeechLanguageModel(config).to(dtype_on(dtype, device))
            try:
                _fill(model, safetensors.torch.load_file(path), path)
            except SafetensorError as error:
                raise EmotionOmniError(
                    f"{path.name} is not whole ({error}). Run emotion_omni.synthesis.cosyvoice2_convert again.",
                    "checkpoint",
                ) from error
            return cls(model.to(device), load_tokenizer(str(folder), ""))

    @torch.inference_mode()
    def tokens(self, text: str, instruction: str = "", seed: int = 0) -> Iterator[int]:
        """Speech tokens as they are drawn, at most ``MOST`` for each text token; none for a text of none."""
        words = self._words.encode(text, add_special_tokens=False).ids
        if not words:
            return
        how = (
            [*self._words.encode(instruction, add_special_tokens=False).ids, self._end_of_prompt] if instruction else []
        )
        model, device = self.model, self.model.llm_decoder.weight.device
        generator = torch.Generator().manual_seed(seed)
        inputs, cache, said = model.prompt(torch.tensor([*how, *words], device=device)), None, []
        while len(said) < MOST * len(words):
            scores, cache = model(inputs, cache)
            scores[CODES + (len(said) >= LEAST * len(words)) :] = -torch.inf  # the marks, the end until it may come
            token = sample_one(scores, NUCLEUS, generator)
            if token in said[-REPEATED:]:
                token = sample_one(scores, SamplingParams(), generator)
            if token == CODES:
                return
            said.append(token)
            yield token
            inputs = model.speech_embedding.weight[token][None, None]


def convert(official: str | Path, folder: str | Path) -> None:
    """The published ``llm.pt`` and tokenizer of CosyVoice2-0.5B in ``official`` → ``folder``/llm for :meth:`Text2Token.load`.

    A .pt file is a pickle, which may run code: it is read with ``weights_only=True``, once, here and nowhere else.
    Raises :class:`EmotionOmniError` (codes ``missing``, ``checkpoint``, ``weights``).
    """
    official, folder = Path(official), Path(folder) / "llm"
    path, blank = _existing(official / "llm.pt"), official / "CosyVoice-BlankEN"
    with explained(str(blank)):
        config = transformers.Qwen2Config.from_pretrained(blank)
        tokenizer = load_tokenizer(str(blank), "")
    tokenizer.add_tokens(
        [END_OF_PROMPT], special_tokens=True
    )  # the first of those that CosyVoice2 adds, so its number is the same
    published = {name.removeprefix("llm.model."): weight for name, weight in _unpickle(path).items()}
    published.pop("lm_head.weight", None)  # of text, which it never writes
    weights = {
        name.replace("model.", "llm.", 1) if name.startswith("model.") else name: weight
        for name, weight in published.items()
    }
    model = SpeechLanguageModel(config)
    _fill(model, weights, path)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=1, default=str) + "\n")
    safetensors.torch.save_file(
        {name: weight.contiguous() for name, weight in model.state_dict().items()}, folder / "llm.safetensors"
    )
