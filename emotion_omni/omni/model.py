"""The whole model: frames of a spoken query → states of the language model → words, emotion and speech tokens.

Paper, model section, read from top to bottom: frozen encoders (:mod:`encoders`, outside: their frames
come in here), adapters and fusion, the language model with LoRA, the emotion head, the speech
decoder. :mod:`generation` runs it forward, ``emotion_omni.train`` teaches it.

Which state goes with which token: token n is paired with the state it was drawn from, one row before
its own. That state exists when the token is chosen, so that nothing waits; and training pairs the
same two, for :meth:`Omni.read` serves both.

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
from emotion_omni.omni.padding import valid
from emotion_omni.omni.prompt import Prompt, Prompter
from emotion_omni.omni.speech_decoder import SpeechDecoder
from emotion_omni.types import EmotionOmniError

UNDERSTAND = ("adapters", "lora", "emotion_head", "prototypes")  # what stage 1 teaches
SPEAK = ("speech_decoder",)  # what stage 2 teaches


@dataclass(frozen=True, eq=False)
class Query:
    """Frames of both encoders: ``semantic`` and ``emotion`` [B, T, E] with their lengths [B]. T = 0 is no sound."""

    semantic: Tensor
    semantic_lengths: Tensor
    emotion: Tensor
    emotion_lengths: Tensor

    def to(self, device: str | torch.device) -> Query:
        return Query(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class Rows:
    """What the language model reads: ``embeddings`` [B, S, D], ``mask`` [B, S], ``places`` [B, S] counted without padding.

    ``first`` [B]: the row whose state the first token of the answer is drawn from.
    """

    embeddings: Tensor
    mask: Tensor
    places: Tensor
    first: Tensor


@dataclass(frozen=True, eq=False)
class Answer:
    """Tokens of an answer with the states they were drawn from.

    ``states`` and ``embeddings`` [B, N, D], ``lengths`` [B]: tokens that are spoken, without the end.
    """

    states: Tensor
    embeddings: Tensor
    lengths: Tensor


class Omni(nn.Module):
    """The parts side by side. Build it with :meth:`build`; encoders and vocoder stand outside."""

    def __init__(self, config: OmniConfig, model: peft.PeftModel, tokenizer: Any) -> None:
        super().__init__()
        self.config = config
        self.prompter = Prompter(tokenizer)
        self.adapters = AudioAdapters(config)
        self.language_model = model
        self.emotion_head = EmotionHead(config)
        self.speech_decoder = SpeechDecoder(config)
        # the mean emotion vector of the answers of each label in the training set; zero where there were none
        self.register_buffer("prototypes", torch.zeros(len(emotion.NAMES), config.emotion.width))

    @classmethod
    def build(cls, config: OmniConfig, device: str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0) -> Omni:
        """The pretrained language model, everything else at its random start.

        ``dtype`` is that of the frozen weights; what is trained stays float32 (:func:`language_model.in_precision` changes all).
        Raises :class:`EmotionOmniError` (codes ``config``, ``weights``).
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
    def causal(self) -> Any:
        """The language model with LoRA inside, without peft's wrapping."""
        return self.language_model.get_base_model()

    def embed(self, ids: Tensor) -> Tensor:
        """ids [...] → [..., D]."""
        return self.causal.get_input_embeddings()(ids)

    def states(self, embeddings: Tensor, mask: Tensor | None, places: Tensor, cache: Any = None) -> Tensor:
        """embeddings [B, S, D] → the normalised last states [B, S, D]; ``cache``: transformers' keys and values."""
        decoder = self.causal.get_decoder()
        return decoder(
            inputs_embeds=embeddings, attention_mask=mask, position_ids=places, cache=cache, use_cache=cache is not None
        ).last_hidden_state

    def scores(self, states: Tensor) -> Tensor:
        """states [..., D] → logits [..., V]."""
        return self.causal.get_output_embeddings()(states)

    def rows(
        self, query: Query, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]] = (), *, left: bool = False
    ) -> Rows:
        """Prompt, sound and answer in one row of embeddings each; the one splice of training and talking.

        Padding stands on the right, or, for a batch that goes on to write, on the left: states are the same.
        """
        sound, lengths = self.adapters(query.semantic, query.semantic_lengths, query.emotion, query.emotion_lengths)
        device, parts, first = sound.device, [], []
        for index, prompt in enumerate(prompts):
            ids = torch.tensor([*prompt.before, *prompt.after, *(answers[index] if answers else ())], device=device)
            words = self.embed(ids)
            heard = sound[index, : lengths[index]].to(words.dtype)
            at = len(prompt.before)
            parts.append(torch.cat([words[:at], heard, words[at:]]))
            first.append(at + len(heard) + len(prompt.after) - 1)
        sizes = torch.tensor([len(part) for part in parts], device=device)
        side = "left" if left else "right"
        embeddings = pad_sequence(parts, batch_first=True, padding_side=side)
        mask = valid(sizes, embeddings.shape[1])
        shift = (embeddings.shape[1] - sizes) if left else torch.zeros_like(sizes)
        mask = mask.flip(1) if left else mask
        places = (torch.arange(embeddings.shape[1], device=device) - shift[:, None]).clamp_min(0)
        return Rows(embeddings, mask, places, torch.tensor(first, device=device) + shift)

    # --- one answer, read with the text it should have --------------------------------------------------------------

    def read(self, query: Query, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]]) -> tuple[Answer, Tensor]:
        """Queries and the ids of their answers, end included → the answers' tokens and states, and logits [B, N + 1, V].

        Logits of row n are those of token n; the last valid row's of the end.
        """
        rows = self.rows(query, prompts, answers)
        states = self.states(rows.embeddings, rows.mask, rows.places)
        counts = torch.tensor([len(answer) for answer in answers], device=states.device)
        at = rows.first[:, None] + torch.arange(int(counts.max()), device=states.device)
        drawn_from = states.gather(1, at.clamp_max(states.shape[1] - 1)[..., None].expand(-1, -1, states.shape[2]))
        ids = pad_sequence([torch.tensor(answer, device=states.device) for answer in answers], batch_first=True)
        answer = Answer(drawn_from[:, :-1], self.embed(ids)[:, :-1], counts - 1)
        return answer, self.scores(drawn_from)

    def emotions(self, answer: Answer, cache: Any = None) -> Tensor:
        """→ the planned emotion [B, N, E], or [B, 1, E] in the ``utterance`` mode."""
        return self.emotion_head(answer.states.to(self.dtype), answer.lengths, cache)

    def label(self, planned: Tensor) -> str | None:
        """An emotion vector [E] → the label whose prototype points most nearly that way; none before training.

        Seen from the middle of the known prototypes, for what all emotions share would make all of them alike.
        """
        known = self.prototypes.abs().sum(1) > 0
        if not known.any():
            return None
        middle = self.prototypes[known].mean(0) if known.sum() > 1 else torch.zeros_like(self.prototypes[0])
        alike = F.cosine_similarity(planned.to(self.prototypes) - middle, self.prototypes - middle, dim=-1)
        return emotion.NAMES[int(alike.masked_fill(~known, -torch.inf).argmax())]

    # --- what is trained, and saved -----------------------------------------------------------------------------------

    def trained(self, parts: Sequence[str] = UNDERSTAND + SPEAK) -> dict[str, Tensor]:
        """The tensors of ``parts`` by name; what is frozen is not among them."""
        return {name: value.detach() for name, value in self._places(parts).items()}

    def load_trained(self, tensors: Mapping[str, Tensor], parts: Sequence[str] = UNDERSTAND + SPEAK) -> None:
        """The inverse of :meth:`trained`. Raises :class:`EmotionOmniError` (code ``checkpoint``) unless names and shapes all agree."""
        wanted = self.trained(parts)
        if wrong := sorted(set(wanted) ^ set(tensors)):
            verb = "lacks" if wrong[0] in wanted else "should not have"
            others = f" {len(wrong) - 1} more names differ." if len(wrong) > 1 else ""
            raise EmotionOmniError(
                f"The checkpoint {verb} {wrong[0]!r}.{others} It is not of this model.", "checkpoint"
            )
        for name, value in tensors.items():
            if value.shape != wanted[name].shape:
                raise EmotionOmniError(
                    f"{name!r} is {list(value.shape)} in the checkpoint and {list(wanted[name].shape)} by its config.",
                    "checkpoint",
                )
        with torch.no_grad():
            for name, value in self._places(parts).items():
                value.copy_(tensors[name])

    def _places(self, parts: Sequence[str]) -> dict[str, Tensor]:
        """The very tensors that :meth:`trained` names, to be written to."""
        named = dict(self.language_model.named_parameters())
        lora = {f"lora.{name.replace('.default.', '.')}": value for name, value in named.items() if "lora_" in name}
        own = {name: value for name, value in self.state_dict().items() if not name.startswith("language_model.")}
        return {name: value for name, value in (own | lora).items() if name.partition(".")[0] in parts}
