"""Mechanisms behind figures that are compared with others' or with those of before."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_COCO = "tests/unit/ml_engine/test_coco.py"

MEASURING = (
    Mutant(
        "a crowd is overlapped like any other box",
        "ml_engine/boxes.py",
        "np.where(crowd, 0, areas(true) - shared)",
        "(areas(true) - shared)",
        "tests/unit/ml_engine/test_boxes.py",
    ),
    Mutant(
        "corners of photographs are summed in 64 bits",
        "ml_engine/datasets/photos.py",
        "np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)",
        "np.array([box.xyxy for box in kept], np.float32).reshape(-1, 4)",
        f"{_COCO}::test_photos_choose_by_category_and_clip",
    ),
    Mutant(
        "a value that a COCO file lacks is no reason to refuse it",
        "ml_engine/datasets/coco.py",
        "except (ValueError, KeyError, TypeError, AttributeError) as error:",
        "except (ValueError, AttributeError) as error:",
        f"{_COCO}::test_a_file_of_another_kind_is_refused_by_every_reader",
    ),
    Mutant(
        "a missing result file is no difference",
        "tests/support/compare_results.py",
        "for name in sorted({*files[0], *files[1]}):",
        "for name in sorted(files[0].keys() & files[1].keys()):",
        "tests/unit/test_compare_results.py::test_a_missing_file_is_a_difference",
    ),
)
