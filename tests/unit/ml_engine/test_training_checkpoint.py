"""The bundled checkpoint: what is in the folder, and that it finds animals in scenes it has not
seen.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import ml_engine
from core.domain.classes import CLASSES
from ml_engine.synthetic.examples import render_example
from ml_engine.training.measure import curve, detect

FOLDER = Path(ml_engine.__file__).parent / "checkpoints" / "pasture"


@pytest.fixture(scope="module")
def muster() -> dict:
    return json.loads((FOLDER / "muster.json").read_text())


@pytest.fixture(scope="module")
def model():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoModelForObjectDetection

        return AutoModelForObjectDetection.from_pretrained(FOLDER).eval()


def test_the_table_names_every_class_and_a_threshold_for_it(muster: dict) -> None:
    assert muster["labels"] == {name: name for name in CLASSES}
    assert set(muster["thresholds"]) == set(CLASSES)
    assert all(0.05 < t < 0.95 for t in muster["thresholds"].values())
    assert muster["licence"] == "Apache-2.0"
    assert "DEIMv2" in muster["source"]


def test_the_weights_are_small_enough_for_the_repository() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size <= 10_000_000
    assert not list(FOLDER.glob("*.bin"))


def test_the_configuration_has_the_three_labels_in_order() -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["id2label"] == {str(i): name for i, name in enumerate(CLASSES)}
    assert "_name_or_path" not in config or not config["_name_or_path"]


def test_the_card_credits_where_the_weights_come_from() -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text()
    assert "DEIMv2" in card and "Apache-2.0" in card and "Aerial Cows" in card


def test_loading_leaves_no_weight_untrained(model) -> None:
    from safetensors import safe_open

    with safe_open(FOLDER / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert "model.decoder.bbox_embed.0.layers.0.weight" in names
    assert model.config.num_labels == 3


def test_the_image_processor_loads_without_the_network() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoImageProcessor

        processor = AutoImageProcessor.from_pretrained(FOLDER)
    pixels = processor(images=np.full((54, 96, 3), 255, np.uint8), return_tensors="pt")[
        "pixel_values"
    ]
    assert tuple(pixels.shape) == (1, 3, 416, 416)
    assert float(pixels.max()) == pytest.approx(1.0, abs=1e-3)


def test_it_finds_animals_in_unseen_rendered_scenes(model) -> None:
    truth = [render_example(700_000 + i) for i in range(24)]
    any_animal = curve(detect(model, [e.bgr for e in truth]), truth, None)
    assert any_animal.ap50 > 0.5
