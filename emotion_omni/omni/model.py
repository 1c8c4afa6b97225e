"""The whole model: frames of a spoken query → hidden states of the language model → text, emotion and speech tokens.

Paper, model section, from top to bottom: frozen encoders (:mod:`encoders`, outside: their frames come in
here), adapters and fusion, the language model with LoRA, the emotion head, the speech decoder.
:mod:`generation` runs it to answer, ``emotion_omni.train`` trains it.

Token n is paired with the hidden state it was sampled from, one row before its own. That state exists
when the token is chosen, so nothing waits for it; training pairs the same two.

Axes: B batch, T frames, P positions of sound, S rows of the language model, N tokens of the answer,
D width, E width of an emotion vector, C emotions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import peft
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from emotion_omni import emotion
from emotion_omni.omni import language_model
from emotion_omni.omni.adapters import AudioAdapters
from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.emotion_head import EmotionHead
from emotion_omni.omni.padding import length_mask
from emotion_omni.omni.prompt import Prompt, PromptBuilder
from emotion_omni.omni.speech_decoder import SpeechDecoder
from emotion_omni.omni.transformer import KVCache
from emotion_omni.types import EmotionOmniError

UNDERSTAND = ("adapters", "lora", "emotion_head", "prototypes")  # trained in stage 1
SPEAK = ("speech_decoder",)  # trained in stage 2


@dataclass(frozen=True, eq=False)
class Query:
    """Frames of both encoders: ``semantic`` and ``emotion`` [B, T, E] with their lengths [B]. T = 0: no recording."""

    semantic: Tensor
    semantic_lengths: Tensor
    emotion: Tensor
    emotion_lengths: Tensor

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> Query:
        """``dtype`` is that of the frames."""
        return Query(
            self.semantic.to(device, dtype),
            self.semantic_lengths.to(device),
            self.emotion.to(device, dtype),
            self.emotion_lengths.to(device),
        )


@dataclass(frozen=True, eq=False)
class LanguageModelInputs:
    """``inputs_embeds`` [B, S, D], ``attention_mask`` and ``position_ids`` [B, S]; positions do not count padding.

    ``answer_start`` [B]: the row from whose hidden state the first token of the answer is sampled.
    """

    inputs_embeds: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    answer_start: Tensor


@dataclass(frozen=True, eq=False)
class Answer:
    """Tokens of an answer with the hidden states they were sampled from.

    ``hidden_states`` and ``token_embeddings`` [B, N, D], ``lengths`` [B]: tokens that are spoken, without EOS.
    """

    hidden_states: Tensor
    token_embeddings: Tensor
    lengths: Tensor


class Omni(nn.Module):
    """The parts side by side. :meth:`build` makes it; encoders and vocoder stay outside."""

    prototypes: Tensor

    def __init__(self, config: OmniConfig, model: peft.PeftModel, tokenizer: Any) -> None:
        super().__init__()
        self.config = config
        self.prompt_builder = PromptBuilder(tokenizer)
        self.adapters = AudioAdapters(config)
        self.language_model = model
        self.emotion_head = EmotionHead(config)
        self.speech_decoder = SpeechDecoder(config)
        # mean emotion vector of the training answers of each label; zero for a label without any
        self.register_buffer("prototypes", torch.zeros(len(emotion.NAMES), config.emotion.width))

    @classmethod
    def build(cls, config: OmniConfig, device: str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0) -> Omni:
        """The pretrained language model, everything else randomly initialized.

        ``dtype`` is that of the frozen weights; trained ones stay float32 (:func:`language_model.cast_parameters`
        casts all). Raises :class:`EmotionOmniError` (codes ``config``, ``weights``, ``missing-package``, ``memory``).
        """
        model, tokenizer = language_model.load(config.language_model, config.lora, device, dtype, seed)
        with language_model.seeded(seed):
            return cls(config, model, tokenizer).to(device).eval()

    # --- the language model -------------------------------------------------------------------------------------

    @property
    def dtype(self) -> torch.dtype:
        """Of the trained parts."""
        return self.speech_decoder.out.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.prototypes.device

    @property
    def causal_lm(self) -> Any:
        """The language model with LoRA inside, without peft's wrapper."""
        return self.language_model.get_base_model()

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """ids [...] → [..., D]."""
        return self.causal_lm.get_input_embeddings()(ids)

    def hidden_states(
        self, inputs_embeds: Tensor, attention_mask: Tensor | None, position_ids: Tensor, kv_cache: Any = None
    ) -> Tensor:
        """inputs_embeds [B, S, D] → the normalized last hidden states [B, S, D]. ``kv_cache``: one of transformers."""
        decoder = self.causal_lm.get_decoder()
        return decoder(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=kv_cache,
            use_cache=kv_cache is not None,
        ).last_hidden_state

    def logits(self, hidden_states: Tensor) -> Tensor:
        """hidden_states [..., D] → logits [..., V]."""
        return self.causal_lm.get_output_embeddings()(hidden_states)

    def prepare_inputs(
        self, query: Query, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]] = (), *, pad_left: bool = False
    ) -> LanguageModelInputs:
        """Prompt, recording and answer in one row of embeddings each, for training and inference alike.

        Padding is on the right or, for a batch to be continued, on the left; the hidden states are the same.
        """
        sound, lengths = self.adapters(query.semantic, query.semantic_lengths, query.emotion, query.emotion_lengths)
        device, sequences, starts = sound.device, [], []
        for index, prompt in enumerate(prompts):
            answer = answers[index] if answers else ()
            ids = torch.tensor([*prompt.before, *prompt.after, *answer], device=device)
            text = self.embed_tokens(ids)
            frames = sound[index, : lengths[index]].to(text.dtype)
            split = len(prompt.before)
            sequences.append(torch.cat([text[:split], frames, text[split:]]))
            starts.append(split + len(frames) + len(prompt.after) - 1)
        sizes = torch.tensor([len(sequence) for sequence in sequences], device=device)
        embeds = pad_sequence(sequences, batch_first=True, padding_side="left" if pad_left else "right")
        mask, shift = length_mask(sizes, embeds.shape[1]), torch.zeros_like(sizes)
        if pad_left:
            mask, shift = mask.flip(1), embeds.shape[1] - sizes
        position_ids = (torch.arange(embeds.shape[1], device=device) - shift[:, None]).clamp_min(0)
        return LanguageModelInputs(embeds, mask, position_ids, torch.tensor(starts, device=device) + shift)

    # --- a given answer -----------------------------------------------------------------------------------------

    def forward(
        self, query: Query, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]]
    ) -> tuple[Answer, Tensor]:
        """Queries and the ids of their answers, EOS included → the answers' hidden states, and logits [B, N + 1, V].

        Teacher forcing. Logits of row n are those of token n; those of the last valid row are of EOS.
        """
        inputs = self.prepare_inputs(query, prompts, answers)
        hidden_states = self.hidden_states(inputs.inputs_embeds, inputs.attention_mask, inputs.position_ids)
        counts = torch.tensor([len(answer) for answer in answers], device=hidden_states.device)
        rows = inputs.answer_start[:, None] + torch.arange(int(counts.max()), device=hidden_states.device)
        rows = rows.clamp_max(hidden_states.shape[1] - 1)[..., None].expand(-1, -1, hidden_states.shape[2])
        sampled_from = hidden_states.gather(1, rows)
        ids = pad_sequence([torch.tensor(answer, device=hidden_states.device) for answer in answers], batch_first=True)
        answer = Answer(sampled_from[:, :-1], self.embed_tokens(ids)[:, :-1], counts - 1)
        return answer, self.logits(sampled_from)

    def plan_emotions(self, answer: Answer, kv_cache: KVCache | None = None) -> Tensor:
        """→ the planned emotion [B, N, E], or [B, 1, E] in the ``utterance`` mode."""
        return self.emotion_head(answer.hidden_states.to(self.dtype), answer.lengths, kv_cache)

    def emotion_label(self, planned: Tensor) -> str | None:
        """An emotion vector [E] → the label of the prototype with the greatest cosine; None before training.

        The mean of the known prototypes is subtracted first: all emotions share a large component, which
        would make all of them look alike.
        """
        known = self.prototypes.abs().sum(1) > 0
        if not known.any():
            return None
        mean = self.prototypes[known].mean(0) if known.sum() > 1 else torch.zeros_like(self.prototypes[0])
        cosine = F.cosine_similarity(planned.to(self.prototypes) - mean, self.prototypes - mean, dim=-1)
        return emotion.NAMES[int(cosine.masked_fill(~known, -torch.inf).argmax())]

    # --- what is trained, and saved -----------------------------------------------------------------------------

    def trained_state_dict(self, parts: Sequence[str] = UNDERSTAND + SPEAK) -> dict[str, Tensor]:
        """The tensors of ``parts`` by name, without the frozen weights."""
        return {name: value.detach() for name, value in self._trained_tensors(parts).items()}

    def load_trained_state_dict(self, tensors: Mapping[str, Tensor], parts: Sequence[str] = UNDERSTAND + SPEAK) -> None:
        """The inverse of :meth:`trained_state_dict`.

        Raises :class:`EmotionOmniError` (code ``checkpoint``) unless all names and shapes agree.
        """
        expected = self.trained_state_dict(parts)
        if wrong := sorted(set(expected) ^ set(tensors)):
            verb = "lacks" if wrong[0] in expected else "should not have"
            others = f" {len(wrong) - 1} more names differ." if len(wrong) > 1 else ""
            raise EmotionOmniError(
                f"The checkpoint {verb} {wrong[0]!r}.{others} It is not of this model.", "checkpoint"
            )
        for name, value in tensors.items():
            if value.shape != expected[name].shape:
                raise EmotionOmniError(
                    f"{name!r} is {list(value.shape)} in the checkpoint and {list(expected[name].shape)} "
                    "by its config.",
                    "checkpoint",
                )
        with torch.no_grad():
            for name, value in self._trained_tensors(parts).items():
                value.copy_(tensors[name])

    def _trained_tensors(self, parts: Sequence[str]) -> dict[str, Tensor]:
        """The tensors themselves, to be written to."""
        parameters = dict(self.language_model.named_parameters())
        lora = {
            f"lora.{name.replace('.default.', '.')}": value for name, value in parameters.items() if "lora_" in name
        }
        own = {name: value for name, value in self.state_dict().items() if not name.startswith("language_model.")}
        return {name: value for name, value in (own | lora).items() if name.partition(".")[0] in parts}
