"""Train SmolLM2 to answer what was said in the tone it was said: LoRA on the reply corpus.

``python -m emotion_omni train responder --out FOLDER`` (about half an hour per epoch on one core)

The corpus is a file of replies or the folder of written exchanges. Each row of it holds the user's words, the heard
emotion, the kind of news (good, bad or neutral) and a reply. The prompt is built by the same function as in the
engine. Only the reply's tokens have a loss. The adapter is small; the base weights do not change.

Axes: B batch, T tokens, D width. Source: Hu et al. 2021, "LoRA".
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from emotion_omni import json_lines, streams, weights
from emotion_omni.response import smollm2
from emotion_omni.response.smollm2_responder import prompt_of, read_adapter
from emotion_omni.train import exchanges
from emotion_omni.train.part_settings import ResponderSettings
from emotion_omni.types import Exchange

IGNORED = -100  # label of tokens without loss


Row = dict[str, Any]
Example = tuple[list[int], list[int]]  # token ids and labels


def read_rows(path: Path) -> list[Row]:
    """JSON lines, gzipped or not, or the folder of written exchanges."""
    if path.is_dir():
        return [row_of(exchange) for exchange in exchanges.read(path)]
    return [row for _, row in json_lines.read_file(path)]


def row_of(exchange: exchanges.WrittenExchange) -> Row:
    """Its last turn, answered after the earlier ones; a tone that was unsure as "sad or calm"."""
    *earlier, turn = exchange.turns
    history = [message for one in earlier for message in ({"text": one.text, "emotion": one.tone}, {"text": one.reply})]
    tone = " or ".join(turn.unsure_between) or turn.tone
    row = {"text": turn.text, "emotion": tone, "event": exchange.news, "reply": turn.reply}
    return row | {"history": history, "split": exchange.split}


def is_validation(row: Row, share: float) -> bool:
    """By its own split, else by the first words of the conversation: all its tones and turns are in one split."""
    if "split" in row:
        return row["split"] == "dev"
    first = row["history"][0]["text"] if row.get("history") else row["text"]
    return int(hashlib.sha256(first.encode()).hexdigest(), 16) % 1000 < 1000 * share


def earlier_of(row: Row) -> tuple[Exchange, ...]:
    """The row's history as pairs."""
    messages = row.get("history") or []
    pairs = zip(messages[::2], messages[1::2], strict=True)
    return tuple(Exchange(user["text"], user.get("emotion", "neutral"), reply["text"]) for user, reply in pairs)


def encode(row: Row, tokenizer: Any) -> tuple[list[int], list[int]]:
    """→ token ids [T] and labels [T], the prompt's labels ignored."""
    prompt = tokenizer.encode(prompt_of(row["text"], row["emotion"], row["event"], earlier_of(row))).ids
    reply = tokenizer.encode(row["reply"] + smollm2.EOS).ids
    return prompt + reply, [IGNORED] * len(prompt) + reply


def batches(examples: list[Example], size: int, rng: random.Random) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of similar length, in random order: ids and labels [B, T]."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i][0]) + rng.random() * 8)
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    rng.shuffle(groups)
    for group in groups:
        longest = max(len(examples[i][0]) for i in group)
        ids = torch.zeros(len(group), longest, dtype=torch.long)
        labels = torch.full((len(group), longest), IGNORED)
        for row, index in enumerate(group):
            tokens, targets = examples[index]
            ids[row, : len(tokens)], labels[row, : len(tokens)] = torch.tensor(tokens), torch.tensor(targets)
        yield ids, labels


def loss_of(model: Any, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of the reply's tokens. Logits are computed for those alone: half the work."""
    inner = model.get_base_model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden_states = inner.model(ids).last_hidden_state[:, :-1]  # right padding: the causal mask is enough
        chosen = labels[:, 1:] != IGNORED
        logits = inner.lm_head(hidden_states[chosen])
    return torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][chosen])


def build(checkpoint: smollm2.Checkpoint, settings: ResponderSettings) -> Any:
    """The base model in bfloat16 with a fresh adapter."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    base = LlamaForCausalLM(smollm2.transformers_config())
    tensors = {name: torch.from_numpy(values) for name, values in checkpoint.tensors.items()}
    base.load_state_dict(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}, strict=True)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=names)
    model = get_peft_model(base, lora)
    for name, parameter in model.named_parameters():
        if ".lora_" not in name:
            parameter.data = parameter.data.bfloat16()  # frozen; a third faster on a CPU with bfloat16, no loss seen
    return model


def load_adapter(model: Any, path: Path) -> None:
    """Start from a trained adapter in place of a fresh one. It must have the same rank."""
    tensors, _ = read_adapter(path)
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            base, half = name.removeprefix("base_model.model.").split(".lora_")
            parameter.data.copy_(torch.from_numpy(tensors[f"{base}.lora_{half[0]}"]))


def adapter_of(model: Any) -> dict[str, Tensor]:
    """The adapter under the base tensors' names, float16."""
    found = {}
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            base, half = name.removeprefix("base_model.model.").split(".lora_")
            found[f"{base}.lora_{half[0]}"] = parameter.detach().half().contiguous()
    return found


@torch.no_grad()
def evaluate(model: Any, examples: list[Example], settings: ResponderSettings) -> float:
    """Mean loss."""
    model.eval()
    losses = [loss_of(model, *batch).item() for batch in batches(examples, settings.batch_size, random.Random(0))]
    model.train()
    return sum(losses) / len(losses)


def train(data: Path, out: Path, settings: ResponderSettings, parent: Path | None = None) -> dict[str, Any]:
    """Write the best epoch's ``responder.safetensors`` and the log to ``out`` → the log.

    ``parent``: an adapter to start from.
    """
    torch.manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    checkpoint = smollm2.read_gguf(weights.fetch("smollm2/smollm2-135m-instruct-q4_1.gguf"))
    training, validation = _split(read_rows(data), checkpoint.tokenizer, settings)
    model = build(checkpoint, settings)
    if parent:
        load_adapter(model, parent)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    steps = settings.epochs * math.ceil(len(training) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, steps))
    log: dict[str, Any] = {"settings": asdict(settings)}
    log["rows"] = {"train": len(training), "validation": len(validation)}
    log["validation_loss"] = [evaluate(model, validation, settings)]
    started, step, best = time.monotonic(), 0, math.inf
    out.mkdir(parents=True, exist_ok=True)
    for epoch in range(settings.epochs):
        for ids, labels in batches(training, settings.batch_size, rng):
            loss = loss_of(model, ids, labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            seconds = time.monotonic() - started
            if step % 10 == 0:
                _progress(f"epoch {epoch} step {step}/{steps} loss {loss.item():.3f} {seconds:.0f} s")
            if seconds > settings.max_seconds:
                break
        log["validation_loss"].append(evaluate(model, validation, settings))
        _progress(f"epoch {epoch} validation loss {log['validation_loss'][-1]:.4f}")
        if log["validation_loss"][-1] < best:
            best = log["validation_loss"][-1]
            scale = str(settings.alpha / settings.rank)
            save_file(adapter_of(model), out / "responder.safetensors", metadata={"scale": scale})
    log["seconds"] = round(time.monotonic() - started)
    (out / "responder.log.json").write_text(json.dumps(log, indent=1))
    return log


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear warm-up over 5 % of the steps, then a cosine to a tenth."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


def _split(rows: list[Row], tokenizer: Any, settings: ResponderSettings) -> tuple[list[Example], list[Example]]:
    training: list[Example] = []
    validation: list[Example] = []
    for row in rows:
        split = validation if is_validation(row, settings.validation_ratio) else training
        split.append(encode(row, tokenizer))
    return training, validation


def _progress(text: str) -> None:
    streams.note(text)
