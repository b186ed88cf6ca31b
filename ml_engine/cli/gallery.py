"""The gallery: annotated pictures with the boxes that a detector finds in them.

python -m ml_engine.cli.gallery --data DIR --out FILE.jpg [--detector CHECKPOINT] [--device auto]
[--count 10] [--columns 5]
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from core.domain.analysis import AnalysisSettings
from core.errors import MusterError
from core.program_name import CommandParser, program_name
from ml_engine.arrays import Image
from ml_engine.cli.options import add_device, start_logging
from ml_engine.datasets.labelled import read_folder
from ml_engine.detection.scores import thresholds_of
from ml_engine.training.report import draw_mistakes, mistakes_in

if TYPE_CHECKING:
    from ml_engine.detection.detector import Detector

CELL_PX = 300
GAP_PX = 4
QUALITY = 80


def draw_gallery(detector: Detector, folder: Path, count: int, columns: int) -> Image:
    """Detect in annotated pictures and lay them side by side.

    Correct boxes are green, false ones red, missed ones yellow.

    Args:
        detector: The detector; its thresholds decide which boxes count.
        folder: COCO JSON or YOLO labels, as `train` takes them.
        count: Number of pictures, taken evenly from the folder.
        columns: Pictures in a row.

    Returns:
        (h, w, 3) uint8 BGR.

    Raises:
        InvalidInput: The folder has no annotated pictures, or one cannot be read.
    """
    from ml_engine.training.finish import detect_photos

    labelled = read_folder(folder)
    rows = sorted({round(row) for row in np.linspace(0, len(labelled) - 1, count)})
    photos = labelled.take(rows)
    found, _ = detect_photos(detector, photos)
    thresholds = thresholds_of(AnalysisSettings(), detector.info.thresholds)
    drawn = []
    for row, one in enumerate(found):
        truth = photos.load(row)
        drawn.append(draw_mistakes(truth, one, mistakes_in(one, truth, thresholds), CELL_PX))
    return side_by_side(drawn, columns)


def side_by_side(pictures: Sequence[Image], columns: int) -> Image:
    """Lay pictures of up to `CELL_PX` out in rows, centred in their cells, on white."""
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    step = CELL_PX + GAP_PX
    sheet = np.full((rows * step - GAP_PX, columns * step - GAP_PX, 3), 255, np.uint8)
    for place, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        top = place // columns * step + (CELL_PX - height) // 2
        left = place % columns * step + (CELL_PX - width) // 2
        sheet[top : top + height, left : left + width] = picture
    return sheet


def main(argv: list[str] | None = None) -> int:
    """Draw a gallery from the command line."""
    from ml_engine.evaluation.run_detector import open_detector

    parser = CommandParser(
        prog=program_name("python -m ml_engine.cli.gallery"),
        description="Draw a detector's boxes into annotated pictures: correct boxes in green,"
        " false ones in red, missed ones in yellow.",
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of annotated pictures, as `train` takes it",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.jpg", help="picture to write"
    )
    parser.add_argument(
        "--detector", metavar="CHECKPOINT", help="detector to use (default: the bundled one)"
    )
    add_device(parser)
    parser.add_argument(
        "--count", type=int, default=10, help="pictures to draw (default: %(default)s)"
    )
    parser.add_argument(
        "--columns", type=int, default=5, help="pictures in a row (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    try:
        start_logging()
        with closing(open_detector(options.detector, options.device)) as detector:
            sheet = draw_gallery(
                detector, options.data, max(options.count, 1), max(options.columns, 1)
            )
        options.out.write_bytes(
            cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        )
    except (MusterError, OSError) as error:
        print(f"Error: {error.message if isinstance(error, MusterError) else error}")
        return 1
    print(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
