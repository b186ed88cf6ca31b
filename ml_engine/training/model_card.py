"""The model card of the bundled weights, as far as a training can fill it in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ml_engine.training.measure import Curve

CARD = """# The bundled detector

This detector finds bison, cattle and persons in pictures from drones and from the side. With it
Muster counts without further setup. A detector trained on footage of your own herd
(`python -m ml_engine train`) will be better.

- Architecture: DEIMv2 (HGNetv2 Femto), about 0.99 million parameters, input {size} x {size} px
  (plain resize, RGB / 255).
- Classes: bison, cattle, person. `muster.json` has the label table and the score thresholds.
- Weights: Apache-2.0. They are derived from `{base}`, whose backbone and encoder are those of
  DEIMv2 by Intellindust-AI-Lab (Apache-2.0).

## How it was made

    python -m ml_engine.training.train_bundled --base {base} \\
        --out ml_engine/checkpoints/pasture --steps {steps} --seed {seed}

{steps} steps of AdamW on batches of 8: rendered pasture scenes (`ml_engine/training`, seeds from
{first}000000 on), three of ten of them over photographs without animals{side}{aerial}.
The class rows started from COCO's: cattle from cow, person from person, bison from cow, bear and
elephant. The weights are a moving average over the run. Batch norms, the first convolutions and the
backbone's scalars were not trained.

## Measured

These figures are for the written folder, loaded again, on {scenes} rendered scenes with unseen
seeds. Each threshold is the one with the best F1 on them.

| class | AP50 | threshold | precision | recall | boxes |
|---|---|---|---|---|---|
{rows}

These figures are for rendered scenes. They say little about real footage.

## Weaknesses

- Real bison: the detector has seen only rendered ones. Real photographs and clips of bison were not
  used for training.
- Animals under about 14 px in the input: use tiles for high drone flights.
- Animals that hide one another in dense groups, and animals cut by the picture's edge.
- Elephants, sheep, goats, horses, dogs and other four-legged animals: the detector has no class for
  them and counts many as cattle or bison.
- Counts: low to high is the range of what was detected.
  Animals that the detector missed are not in this range.
"""

SIDE = """,
photographs of COCO 2017 (a small part; annotations CC BY 4.0, photographs under their authors'
licences)"""
AERIAL = """,
and crops of *Aerial Cows* (92 frames of three drone clips; MIT by the Roboflow export in
Akubrecah/ulinzi-project, and listed as CC BY 4.0 by dataset-ninja/aerial-cows)"""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of a training that its card states.

    Attributes:
        base: Name of the starting checkpoint.
        size: Side of the input, px.
        steps: Number of steps.
        seed: Seed of all random numbers.
        side: Whether photographs from the side were used.
        aerial: Whether photographs from drones were used.
        scenes: Number of rendered scenes for measuring.
    """

    base: str
    size: int
    steps: int
    seed: int
    side: bool
    aerial: bool
    scenes: int


def write_card(out: Path, facts: Facts, figures: dict[str, Curve]) -> None:
    """Write `MODEL_CARD.md` into the checkpoint folder."""
    rows = "\n".join(
        f"| {n} | {f.ap50:.3f} | {f.threshold:.3f} | {f.precision:.3f} | {f.recall:.3f} "
        f"| {f.boxes} |"
        for n, f in figures.items()
    )
    text = CARD.format(
        base=facts.base,
        size=facts.size,
        steps=facts.steps,
        seed=facts.seed,
        first=facts.seed + 1,
        side=SIDE if facts.side else "",
        aerial=AERIAL if facts.aerial else "",
        scenes=facts.scenes,
        rows=rows,
    )
    (out / "MODEL_CARD.md").write_text(text, encoding="utf-8")
