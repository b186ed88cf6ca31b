"""The loop of the cattle counter that Muster replaces: OpenCV frame → PIL → the checkpoint's
processor → torch → draw → `mp4v`, in turn.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path


def run(video: str, checkpoint: str, frames: int) -> float:
    """Return the loop's frames per second."""
    import cv2
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    processor = AutoImageProcessor.from_pretrained(checkpoint)
    model = AutoModelForObjectDetection.from_pretrained(checkpoint).eval()
    capture = cv2.VideoCapture(video)
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    with tempfile.TemporaryDirectory() as folder:
        writer = cv2.VideoWriter(
            str(Path(folder) / "out.mp4"),
            cv2.VideoWriter.fourcc(*"mp4v"),
            capture.get(cv2.CAP_PROP_FPS),
            size,
        )
        start = 0.0
        for number in range(frames + 5):
            if number == 5:
                start = time.perf_counter()
            ok, image = capture.read()
            if not ok:
                raise RuntimeError("the video is shorter than the benchmark")
            picture = Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            with torch.no_grad():
                answer = model(**processor(images=picture, return_tensors="pt"))
            found = processor.post_process_object_detection(
                answer, target_sizes=[(size[1], size[0])], threshold=0.4
            )[0]
            for box, label in zip(found["boxes"].tolist(), found["labels"].tolist(), strict=True):
                left, top, right, bottom = map(int, box)
                cv2.rectangle(image, (left, top), (right, bottom), (0, 255, 0), 2)
                cv2.putText(
                    image,
                    model.config.id2label[label],
                    (left, top),
                    cv2.FONT_HERSHEY_SIMPLEX,
                    0.5,
                    (0, 255, 0),
                    1,
                )
            writer.write(image)
        writer.release()
        return frames / (time.perf_counter() - start)


if __name__ == "__main__":
    print(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
