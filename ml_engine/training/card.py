"""The model card that lies beside the bundled weights."""

from __future__ import annotations

from pathlib import Path

from ml_engine.training.batches import Mix
from ml_engine.training.measure import Curve

CARD = """# The bundled detector

Finds bison, cattle and persons in pictures from drones and from the side. It makes Muster count out of the box;
it is a first one, trained mostly on rendered scenes, and a detector trained on real footage of your own herd will be better.

- Architecture: DEIMv2 (HGNetv2 Femto), {parameters} parameters, input 416 x 416 px (plain resize, RGB / 255).
- Classes: bison, cattle, person. `muster.json` has the label table and the score thresholds.
- Weights: Apache-2.0. They are derived from `{base}`, whose backbone and encoder are those of DEIMv2 by Intellindust-AI-Lab (Apache-2.0).

## How it was made

    python -m ml_engine.training.bundle --out ml_engine/checkpoints/pasture --steps {steps} --seed {seed}

{steps} steps of AdamW on batches of 8: {rendered} rendered pasture scenes
(`ml_engine/training`, seeds from {first}000000 on){side}{aerial}.
The class rows began as COCO's: cattle from cow, person from person, bison from cow, bear and elephant.
The weights are a moving average over the run; batch norms were kept fixed.

## Measured

The folder as written, loaded again, on {scenes} rendered scenes with unseen seeds; threshold = best F1 there.

| class | AP50 | threshold | precision | recall | boxes |
|---|---|---|---|---|---|
{rows}

These figures say how well it knows rendered scenes. They say little about real footage.

## What it is bad at

- Real bison: it has seen rendered ones only. Real photographs and clips of them had no part in training.
- Animals under about 14 px in the 416 px input: use tiles for high drone flights.
- Animals that hide one another in dense groups, and animals cut by the picture's edge.
- Horses, sheep and other four-legged animals: background to it at best, cattle at worst.
"""


def write_card(out: Path, base: str, figures: dict[str, Curve], steps: int, seed: int, mix: Mix, scenes: int) -> None:
    """Write `MODEL_CARD.md` into the checkpoint folder."""
    rows = "\n".join(
        f"| {n} | {f.ap50:.3f} | {f.threshold:.3f} | {f.precision:.3f} | {f.recall:.3f} | {f.boxes} |" for n, f in figures.items()
    )
    side = (
        f",\n{mix.side_photos} photograph of COCO 2017 (a small part; annotations CC BY 4.0, photographs under their authors' licences)"
        if mix.side
        else ""
    )
    aerial = (
        f",\nand {mix.aerial_photos} crop of *Aerial Cows* (92 frames of three drone clips; MIT by the Roboflow export in"
        " Akubrecah/ulinzi-project,"
        "\nand listed as CC BY 4.0 by dataset-ninja/aerial-cows)"
        if mix.aerial
        else ""
    )
    text = CARD.format(
        parameters="about 0.99 million",
        base=base,
        steps=steps,
        seed=seed,
        rendered=mix.rendered,
        first=seed + 1,
        side=side,
        aerial=aerial,
        scenes=scenes,
        rows=rows,
    )
    (out / "MODEL_CARD.md").write_text(text)
