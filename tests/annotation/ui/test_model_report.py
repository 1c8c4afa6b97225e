"""The report of an engine: linked where there is one, served for engines of the menu alone."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from annotation.realtime.engine_pool import EnginePool
from annotation.ui import model_report
from emotion_omni import engine
from emotion_omni.checkpoint import lineage, promotion
from emotion_omni.evaluate import reports
from emotion_omni.fake import FakeEngine


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def client():
    return TestClient(Starlette(routes=[model_report.ROUTE]))


def test_a_link_where_there_is_a_report(client):
    assert "evaluate fake" in model_report.link("fake") and "<a" not in model_report.link("fake")
    reports.save("fake", {}, "<!DOCTYPE html><title>Model report: fake</title>")
    assert 'href="model-report?engine=fake"' in model_report.link("fake")
    found = client.get("/model-report?engine=fake")
    assert found.status_code == 200 and "Model report: fake" in found.text
    assert "default-src 'none'" in found.headers["content-security-policy"]


@pytest.mark.parametrize("name", ["embedded:secret", "../../x", "", "fake%00", "<b>"])
def test_only_engines_of_the_menu(client, name):
    reports.save(name.replace("%00", "\0"), {}, "secret")
    found = client.get("/model-report", params={"engine": name})
    assert found.status_code == 404 and "secret" not in found.text
    assert "<b>" not in model_report.link(name) and "<a" not in model_report.link(name)


def test_an_engine_whose_name_was_promoted_is_loaded_for_the_next_turn(tmp_path):
    def made(content):
        folder = tmp_path / f"trained-{content}"
        folder.mkdir()
        (folder / "guard.safetensors").write_text(content)
        lineage.record(folder, "train guard")
        return promotion.put(folder, "mine", "embedded")

    class Named(FakeEngine):
        def __init__(self):
            self.name = f"embedded:{promotion.find('mine')[0]}"

    made("1")
    pool = EnginePool(lambda name: Named())
    first = pool.get("embedded:mine")
    assert pool.get("embedded:mine") is first and pool.is_ready("embedded:mine")
    named = made("2")
    assert not pool.is_ready("embedded:mine")
    second = pool.get("embedded:mine")
    assert second is not first and engine.rated_as("embedded:mine", second) == f"embedded:mine@{named.current}"
    assert engine.rated_as("fake", FakeEngine()) == "fake"
