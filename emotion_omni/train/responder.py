"""Teach SmolLM2 to answer what was said in the tone it was said: LoRA on the reply corpus.

`python -m emotion_omni.train.responder --out FOLDER` (about half an hour an epoch on one core)

Each row of the corpus holds the words, the heard tone, what the words tell of (good, bad or neutral
news) and a reply; the prompt is built by the very function that the engine uses. Only the reply's
tokens carry loss. The adapter is small; the base weights never change.

Axes: B batch, T tokens, D width. Source: Hu et al. 2021, "LoRA".
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import random
import time
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from emotion_omni import weights
from emotion_omni.response import smollm2
from emotion_omni.response.smollm2_responder import prompt_of
from emotion_omni.train.part_settings import ResponderSettings
from emotion_omni.types import Exchange

IGNORED = -100  # the label of a token without loss


def read_rows(path: Path) -> list[dict]:
    open_ = gzip.open if path.suffix == ".gz" else open
    with open_(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def is_validation(row: dict, share: float) -> bool:
    """By the first words of the conversation: all tones and turns of it fall on one side."""
    first = row["history"][0]["text"] if row.get("history") else row["text"]
    return int(hashlib.sha256(first.encode()).hexdigest(), 16) % 1000 < 1000 * share


def earlier_of(row: dict) -> tuple[Exchange, ...]:
    turns = row.get("history") or []
    pairs = zip(turns[::2], turns[1::2], strict=True)
    return tuple(Exchange(said["text"], said.get("emotion", "neutral"), answer["text"]) for said, answer in pairs)


def encode(row: dict, tokenizer) -> tuple[list[int], list[int]]:
    """→ token ids [T] and labels [T], the prompt's labels ignored."""
    prompt = tokenizer.encode(prompt_of(row["text"], row["emotion"], row["event"], earlier_of(row))).ids
    reply = tokenizer.encode(row["reply"] + smollm2.EOS).ids
    return prompt + reply, [IGNORED] * len(prompt) + reply


def batches(examples: list, size: int, rng: random.Random):
    """Batches of like length, in random order: little padding, no order to learn from."""
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


def loss_of(model, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of the reply's tokens. Only their states meet the vocabulary: half the work."""
    inner = model.get_base_model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = inner.model(ids).last_hidden_state[:, :-1]  # padding is on the right: causal masking suffices
        chosen = labels[:, 1:] != IGNORED
        logits = inner.lm_head(states[chosen])
    return torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][chosen])


def build(checkpoint: smollm2.Checkpoint, settings: ResponderSettings):
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(smollm2.transformers_config())
    tensors = {name: torch.from_numpy(values) for name, values in checkpoint.tensors.items()}
    model.load_state_dict(tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]}, strict=True)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=names)
    model = get_peft_model(model, lora)
    for name, parameter in model.named_parameters():
        if ".lora_" not in name:
            parameter.data = parameter.data.bfloat16()  # frozen: a third faster on a CPU with bf16, no loss seen
    return model


def adapter_of(model) -> dict[str, torch.Tensor]:
    """The adapter under the base tensors' names, float16."""
    found = {}
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            base, half = name.removeprefix("base_model.model.").split(".lora_")
            found[f"{base}.lora_{half[0]}"] = parameter.detach().half().contiguous()
    return found


@torch.no_grad()
def evaluate(model, examples: list, settings: ResponderSettings) -> float:
    model.eval()
    losses = [loss_of(model, *batch).item() for batch in batches(examples, settings.batch_size, random.Random(0))]
    model.train()
    return sum(losses) / len(losses)


def train(data: Path, out: Path, settings: ResponderSettings) -> dict:
    torch.manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    checkpoint = smollm2.read_gguf(weights.fetch("smollm2/smollm2-135m-instruct-q4_1.gguf"))
    rows = read_rows(data)
    sides: dict[bool, list] = {False: [], True: []}
    for row in rows:
        sides[is_validation(row, settings.validation_ratio)].append(encode(row, checkpoint.tokenizer))
    model = build(checkpoint, settings)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
    steps = settings.epochs * math.ceil(len(sides[False]) / settings.batch_size)

    def rate(step: int) -> float:
        warm = max(1, steps // 20)
        return (
            (step + 1) / warm if step < warm else 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
        )

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    log = {"settings": asdict(settings), "rows": {"train": len(sides[False]), "validation": len(sides[True])}}
    log["validation_loss"] = [evaluate(model, sides[True], settings)]
    print(json.dumps(log), flush=True)
    started, step, best = time.monotonic(), 0, math.inf
    for epoch in range(settings.epochs):
        for ids, labels in batches(sides[False], settings.batch_size, rng):
            loss = loss_of(model, ids, labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step(), schedule.step(), optimizer.zero_grad(set_to_none=True)
            step += 1
            if step % 10 == 0:
                spent = time.monotonic() - started
                print(f"epoch {epoch} step {step}/{steps} loss {loss.item():.3f} {spent:.0f} s", flush=True)
            if time.monotonic() - started > settings.max_seconds:
                break
        log["validation_loss"].append(evaluate(model, sides[True], settings))
        print(f"epoch {epoch} validation loss {log['validation_loss'][-1]:.4f}", flush=True)
        if log["validation_loss"][-1] < best:
            best = log["validation_loss"][-1]
            out.mkdir(parents=True, exist_ok=True)
            scale = str(settings.alpha / settings.rank)
            save_file(adapter_of(model), out / "responder.safetensors", metadata={"scale": scale})
    log["seconds"] = round(time.monotonic() - started)
    (out / "responder.log.json").write_text(json.dumps(log, indent=1))
    return log
