"""Training of the reranker: wrong replies, loss, and a small run."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from emotion_omni.response.reply_bank import ReplyBank
from emotion_omni.response.reranker import Reranker
from emotion_omni.train import exchanges, reranker, responder
from emotion_omni.train.part_settings import RerankerSettings

WRITTEN = exchanges.read()


@pytest.fixture
def groups() -> list[reranker.Group]:
    """Eighty groups with wrong replies; vectors at random."""
    contrast = [one for one in WRITTEN if one.kind == "contrast"][:40]
    found = [reranker.group_of(one) for one in [*contrast, *WRITTEN[:40]]]
    vectors = torch.nn.functional.normalize(torch.randn(80, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    reranker.add_wrong(found, vectors, random.Random(0), RerankerSettings())
    return found


def test_wrong_replies_are_of_other_words_or_tones_and_never_cross_the_splits(groups):
    split_of = {group.reply: (group.validation, group.name) for group in groups}
    for group in groups:
        kinds = [kind for kind, _ in group.wrong]
        assert kinds.count("random") == kinds.count("near") == 3 and group.reply not in {one for _, one in group.wrong}
        for kind, reply in group.wrong:
            if kind in ("random", "near"):
                validation, name = split_of[reply]
                assert validation == group.validation and name != group.name
            if kind == "other tone":
                assert split_of[reply][1] == group.name
    assert any(kind == "other tone" for group in groups for kind, _ in group.wrong)


def test_damage_changes_a_reply():
    rng = random.Random(0)
    for one in WRITTEN[:50]:
        group = reranker.group_of(one)
        found = dict(reranker._damaged(group, "A quiet afternoon with strawberries. Who brought cream?", rng))
        assert group.reply not in found.values() and {"mixed", "scrambled", "reversed", "generic"} <= found.keys()
    assert reranker.scrambled("one two three", rng) == "three two one"


def test_the_loss_falls_when_the_right_reply_rises():
    places, right = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([1.0, 0, 0, 1, 0])
    good, bad = torch.tensor([2.0, 0, 0, 2, 0]), torch.tensor([0.0, 2, 0, 0, 2])
    assert reranker.loss_of(good, places, right) < reranker.loss_of(bad, places, right)
    listwise = torch.stack([(-good[:3].log_softmax(0)[0]), (-good[3:].log_softmax(0)[0])]).mean()
    weighted = torch.nn.functional.binary_cross_entropy_with_logits(good, right, pos_weight=torch.tensor(1.5))
    assert reranker.loss_of(good, places, right) == pytest.approx((listwise + 0.25 * weighted).item())


@pytest.fixture
def few_replies(tmp_path) -> Path:
    """Two texts of the reply corpus, each in several tones."""
    rows = responder.read_rows(Path(responder.__file__).with_name("replies.jsonl.gz"))[:6]
    (tmp_path / "replies").mkdir()
    path = tmp_path / "replies" / "few.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_it_learns_from_a_few_exchanges(tmp_path, few_replies):
    rows = [row for _, row in exchanges.rows_of(exchanges.FOLDER)]
    chosen = [row for row in rows if row["kind"] in ("thanks", "joke")]
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
    log = reranker.train(
        tmp_path, few_replies, tmp_path / "out", RerankerSettings(epochs=2, random_each=1, near_each=1)
    )
    of_exchanges = log["groups"]["bank"] + log["groups"]["validation"]
    assert of_exchanges <= len(chosen) < log["groups"]["train"] + log["groups"]["validation"] <= len(chosen) + 6
    assert 0 <= log["validation"]["recall at 1"] <= log["validation"]["recall at 5"] <= 1
    loaded = Reranker.load(tmp_path / "out" / "reranker.safetensors")
    bank = ReplyBank.load(loaded.encoder, tmp_path / "out" / "reply_bank.safetensors")
    assert len(bank.turns) == log["groups"]["bank"]
    assert json.loads((tmp_path / "out" / "reranker.log.json").read_text()) == log


def test_the_responder_reads_exchanges_with_tone_news_and_history():
    rows = responder.read_rows(exchanges.FOLDER)
    assert len(rows) == len(WRITTEN)
    for row, one in zip(rows, WRITTEN, strict=True):
        assert (row["text"], row["event"], row["reply"]) == (one.turns[-1].text, one.news, one.turns[-1].reply)
        earlier = responder.earlier_of(row)
        assert [(said.transcript, said.heard, said.reply) for said in earlier] == [
            (turn.text, turn.tone, turn.reply) for turn in one.turns[:-1]
        ]
        assert responder.is_validation(row, 0.04) == (one.split == "dev")
    unsure = [row["emotion"] for row, one in zip(rows, WRITTEN, strict=True) if one.kind == "unsure"]
    assert unsure and all(" or " in tone for tone in unsure)
