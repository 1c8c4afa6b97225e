"""Train Qwen2.5-1.5B to answer as the plain exchanges do: LoRA of its upper layers.

``python -m emotion_omni train qwen2-responder --out FOLDER`` (about an hour on two idle cores)

The lower layers do not change, so their output is computed once and kept (half precision, 3 kB a token): what is left
is about half the work. Every reply of a conversation has a loss. The news is left out of half the notes, so that the
model does well without it; so a row has several variants, one for each pass.

Axes: B batch, T tokens, D width, R rank. Source: Hu et al. 2021, "LoRA".
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from emotion_omni import streams, weights
from emotion_omni.response.qwen2 import EOS, Qwen2File, Qwen2Shape
from emotion_omni.response.qwen2_prompt import Note, user_turn
from emotion_omni.response.qwen2_responder import GGUF
from emotion_omni.train import exchanges
from emotion_omni.train.part_settings import Qwen2ResponderSettings
from emotion_omni.train.responder import adapter_of

Example = tuple[list[int], list[bool]]  # token ids, and whether each is of a reply
LAYER_PARTS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


# --- examples -----------------------------------------------------------------------------------------------------


def encode(exchange: exchanges.WrittenExchange, tokenizer: tokenizers.Tokenizer, rng: random.Random) -> Example:
    """The whole conversation. The news of earlier turns is not known, so it is noted of the last one alone."""
    ids: list[int] = []
    of_reply: list[bool] = []
    for number, turn in enumerate(exchange.turns, start=1):
        last = number == len(exchange.turns)
        news = exchange.news if last and rng.random() < 0.5 else ""
        tones = tuple(turn.unsure_between) or (turn.tone,)
        note = Note(tones, last and exchange.kind == "conflict", news)
        for text, is_reply in ((user_turn(note, turn.text), False), (turn.reply + EOS, True), ("\n", False)):
            tokens = tokenizer.encode(text, add_special_tokens=False).ids
            ids += tokens
            of_reply += [is_reply] * len(tokens)
    return ids, of_reply


def batches(examples: Sequence[Example], size: int, rng: random.Random) -> Iterator[list[int]]:
    """Indices of examples of similar length, in random order."""
    order = sorted(range(len(examples)), key=lambda index: len(examples[index][0]) + rng.random() * 6)
    groups = [order[at : at + size] for at in range(0, len(order), size)]
    rng.shuffle(groups)
    yield from groups


# --- the model in two halves --------------------------------------------------------------------------------------


class SplitModel:
    """Qwen2 in bfloat16 with a fresh adapter on the layers from ``settings.first_layer`` on."""

    def __init__(self, base: Any, settings: Qwen2ResponderSettings, device: str = "cpu") -> None:
        from peft import LoraConfig, get_peft_model

        chosen = list(range(settings.first_layer, base.config.num_hidden_layers))
        lora = LoraConfig(
            r=settings.rank, lora_alpha=settings.alpha, target_modules=LAYER_PARTS, layers_to_transform=chosen
        )
        self.peft = get_peft_model(base.to(device), lora)
        self.device, self._model, self._head = device, base.model, base.lm_head
        self._layers, self._norm, self._cut = base.model.layers, base.model.norm, settings.first_layer

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.peft.parameters() if parameter.requires_grad]

    @torch.no_grad()
    def lower(self, examples: Sequence[Example], size: int = 24) -> list[Tensor]:
        """What the lower layers make of each example: [T, D] on the CPU."""
        states: list[Tensor] = [torch.empty(0)] * len(examples)
        order = sorted(range(len(examples)), key=lambda index: len(examples[index][0]))
        for at in range(0, len(order), size):
            group = order[at : at + size]
            ids, mask = _padded([torch.tensor(examples[index][0]) for index in group])
            embedded = self._model.embed_tokens(ids.to(self.device))
            hidden = self._run(self._layers[: self._cut], nn.Identity(), embedded, mask)
            for index, row in zip(group, hidden, strict=True):
                states[index] = row[: len(examples[index][0])].clone().cpu()
            if at // size % 20 == 0:
                streams.note(f"lower layers: {at + len(group)} of {len(order)}")
        return states

    def loss(self, states: Sequence[Tensor], examples: Sequence[Example]) -> Tensor:
        """Mean cross entropy of the replies' tokens. Logits are computed for those alone."""
        hidden, mask = _padded(states)
        ids, _ = _padded([torch.tensor(tokens) for tokens, _ in examples])
        wanted, _ = _padded([torch.tensor(flags) for _, flags in examples])
        hidden = self._run(self._layers[self._cut :], self._norm, hidden.to(self.device), mask)
        chosen = wanted[:, 1:].to(self.device)
        logits = self._head(hidden[:, :-1][chosen]).float()
        return nn.functional.cross_entropy(logits, ids[:, 1:].to(self.device)[chosen])

    def _run(self, layers: nn.ModuleList, norm: nn.Module, hidden: Tensor, mask: Tensor) -> Tensor:
        self._model.layers, self._model.norm = layers, norm
        try:
            mask = mask.to(self.device)
            return self._model(inputs_embeds=hidden, attention_mask=mask, use_cache=False).last_hidden_state
        finally:
            self._model.layers, self._model.norm = self._layers, self._norm


def _padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Tensors [T, …] → [B, T, …] with zeros on the right, and a mask [B, T]."""
    mask = nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True)
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True), mask


def base_model(file: Qwen2File, shape: Qwen2Shape) -> Any:
    """In bfloat16, filled tensor by tensor."""
    from transformers import Qwen2ForCausalLM

    with torch.device("meta"):
        model = Qwen2ForCausalLM(shape.transformers_config())
    state = {}
    for name in model.state_dict():
        if name != "lm_head.weight":
            state[name] = torch.from_numpy(file(name)).bfloat16()
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True, assign=True)
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)  # its buffers are no part of the state
    return model


# --- training -----------------------------------------------------------------------------------------------------


def train(folder: Path, out: Path, settings: Qwen2ResponderSettings) -> dict[str, Any]:
    """Write ``qwen2_responder.safetensors`` and the log to ``out`` after every pass → the log."""
    torch.manual_seed(settings.seed)
    file = Qwen2File(weights.fetch(GGUF))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = SplitModel(base_model(file, Qwen2Shape()), settings, device)
    return fit(model, list(exchanges.read(folder)), file.tokenizer(), out, settings)


def fit(
    model: SplitModel,
    written: Sequence[exchanges.WrittenExchange],
    tokenizer: tokenizers.Tokenizer,
    out: Path,
    settings: Qwen2ResponderSettings,
) -> dict[str, Any]:
    """The passes. The learning rate falls with the share of the steps or of the time, whichever is larger."""
    rng = random.Random(settings.seed)
    validation = [encode(one, tokenizer, rng) for one in written if one.split == "dev"]
    validation_states = model.lower(validation)
    training = [one for one in written if one.split != "dev"]
    optimizer = torch.optim.AdamW(model.parameters, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    steps = settings.epochs * math.ceil(len(training) / settings.batch_size)
    log: dict[str, Any] = {"settings": asdict(settings)}
    log["rows"] = {"train": len(training), "validation": len(validation)}
    log["validation_loss"] = [evaluate(model, validation_states, validation, settings)]
    started, step, share = time.monotonic(), 0, 0.0
    out.mkdir(parents=True, exist_ok=True)
    for epoch in range(settings.epochs):
        examples = [encode(one, tokenizer, rng) for one in training]
        states = model.lower(examples)
        for group in batches(examples, settings.batch_size, rng):
            share = max(step / steps, (time.monotonic() - started) / settings.max_seconds)
            if share >= 1:
                break
            for parameters in optimizer.param_groups:
                parameters["lr"] = settings.learning_rate * rate_factor(step, share)
            loss = model.loss([states[index] for index in group], [examples[index] for index in group])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            if step % 5 == 0:
                streams.note(f"pass {epoch} step {step}/{steps} loss {loss.item():.3f}")
        log["validation_loss"].append(evaluate(model, validation_states, validation, settings))
        streams.note(f"pass {epoch} validation loss {log['validation_loss'][-1]:.4f}")
        log |= {"steps": step, "seconds": round(time.monotonic() - started)}
        metadata = {"scale": str(settings.alpha / settings.rank), "base": weights.find(GGUF).sha256}
        save_file(adapter_of(model.peft), out / "qwen2_responder.safetensors", metadata=metadata)
        (out / "qwen2_responder.log.json").write_text(json.dumps(log, indent=1))
    return log


@torch.no_grad()
def evaluate(
    model: SplitModel, states: Sequence[Tensor], examples: Sequence[Example], settings: Qwen2ResponderSettings
) -> float:
    """Mean loss of the batches."""
    size, losses = settings.batch_size, []
    for at in range(0, len(examples), size):
        losses.append(model.loss(states[at : at + size], examples[at : at + size]).item())
    return sum(losses) / len(losses)


def rate_factor(step: int, share: float) -> float:
    """Warm-up over 15 steps, then a cosine to 2 % of the peak."""
    return min(1.0, (step + 1) / 15) * (0.02 + 0.49 * (1 + math.cos(math.pi * share)))
