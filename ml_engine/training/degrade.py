"""What a lens, a sensor and a codec do to a picture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


def degrade(picture: Picture, rng: np.random.Generator) -> Picture:
    """Return a copy of (h, w, 3) uint8 with random exposure, colour cast, blur, noise and JPEG damage."""
    work = picture.astype(np.float32) / 255
    if rng.random() < 0.1:
        work[:] = work.mean(axis=2, keepdims=True)
    gamma, gain = np.exp(rng.normal(0, 0.22)), np.exp(rng.normal(0, 0.15))
    cast = np.exp(rng.normal(0, 0.05, 3)).astype(np.float32)
    work = np.clip(np.power(np.clip(work, 0, 1), gamma) * gain * cast, 0, 1)
    grey = work.mean(axis=2, keepdims=True)
    work = grey + (work - grey) * rng.uniform(0.6, 1.3)
    if rng.random() < 0.4:
        sigma = float(rng.uniform(0.3, 1.5))
        work = cv2.GaussianBlur(work, (0, 0), sigma)
    if rng.random() < 0.12:
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        work = cv2.filter2D(work, -1, kernel if rng.random() < 0.5 else kernel.T)
    if rng.random() < 0.5:
        work = work + rng.normal(0, rng.uniform(0.005, 0.05), work.shape).astype(np.float32)
    out = np.clip(work * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.6:
        _, code = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))])
        out = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return out
