"""The effects of lenses, sensors, image editors and codecs on an image."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ml_engine.arrays import Image


def tones(rng: np.random.Generator, mean: float, good: bool) -> Image:
    """Return a (1, 256, 3) look-up table: exposure, gamma, white balance and a contrast curve.

    Cameras expose for the `mean` (0-1).
    """
    level = np.linspace(0, 1, 256)[:, None]
    gamma = np.exp(rng.normal(-0.4, 0.2))
    wanted = float(np.clip(np.exp(rng.normal(np.log(0.46), 0.14 if good else 0.32)), 0.12, 0.9))
    wanted += 0.45 * max(mean - 0.5, 0)
    gain = float(np.clip((wanted / max(mean**gamma, 0.02)) ** 0.85, 0.5, 4.0))
    warm, green = rng.normal(0, 0.05), rng.normal(0, 0.012)
    cast = np.exp([-warm, green, warm])
    value = np.clip(level**gamma * gain * cast, 0, 1.15)
    curve = float(rng.uniform(0.1, 0.9) if good else rng.uniform(-0.3, 0.6))
    value = np.clip(value, 0, 1)
    value = value + curve * (value * value * (3 - 2 * value) - value)
    lift = float(rng.uniform(0, 0.1)) if rng.random() < 0.25 else 0.0
    table: npt.NDArray[np.uint8] = np.clip((lift + (1 - lift) * value) * 255 + 0.5, 0, 255).astype(
        np.uint8
    )[None]
    return table


def _colour(picture: Image, rng: np.random.Generator, good: bool) -> Image:
    if rng.random() < 0.06:
        return np.ascontiguousarray(
            np.repeat(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[..., None], 3, axis=2)
        )
    amount = float(rng.uniform(0.9, 1.4) if good else rng.uniform(0.6, 1.3))
    # Saturation is one matrix on the channels. It moves colours away from, or towards, their
    # brightness.
    grey = np.array([0.114, 0.587, 0.299])
    matrix = np.eye(3) * amount + (1 - amount) * np.tile(grey, (3, 1))
    return np.asarray(cv2.transform(picture, matrix), np.uint8)


def equalised(picture: Image, rng: np.random.Generator) -> Image:
    """Return a harsh greyscale image with equalised contrast, as survey software makes it."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    tiles = int(rng.integers(3, 13))
    out = cv2.createCLAHE(float(rng.uniform(2, 9)), (tiles, tiles)).apply(grey)
    if rng.random() < 0.6:
        out = _sharpened(np.asarray(out, np.uint8), rng, 2.0)
    return np.ascontiguousarray(np.repeat(np.asarray(out, np.uint8)[..., None], 3, axis=2))


def _sharpened(picture: Image, rng: np.random.Generator, most: float) -> Image:
    amount = float(rng.uniform(0.3, most))
    soft = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.7, 2.2)))
    return np.asarray(cv2.addWeighted(picture, 1 + amount, soft, -amount, 0), np.uint8)


def _blurred(picture: Image, rng: np.random.Generator) -> Image:
    kind = rng.random()
    if kind < 0.28:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 1.4))), np.uint8)
    if kind < 0.36:
        length = float(rng.uniform(2, 9))
        angle = rng.uniform(0, np.pi)
        kernel = np.zeros((11, 11), np.float32)
        end = np.array([np.cos(angle), np.sin(angle)]) * length / 2
        cv2.line(
            kernel,
            tuple(np.round(5 - end).astype(int).tolist()),
            tuple(np.round(5 + end).astype(int).tolist()),
            1.0,
            1,
            cv2.LINE_AA,
        )
        return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)
    if kind < 0.54:
        height, width = picture.shape[:2]
        scale = float(rng.uniform(0.4, 0.85))
        small = cv2.resize(
            picture,
            (max(int(width * scale), 8), max(int(height * scale), 8)),
            interpolation=cv2.INTER_AREA,
        )
        return np.asarray(
            cv2.resize(
                small,
                (width, height),
                interpolation=cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC,
            ),
            np.uint8,
        )
    return picture


def _noisy(picture: Image, rng: np.random.Generator) -> Image:
    height, width = picture.shape[:2]
    strength = float(rng.uniform(0.5, 7) if rng.random() < 0.85 else rng.uniform(7, 20))
    gain = strength / 74
    # Noise for a quarter of the pixels, used four times. Sampling all of it would take longer than
    # the rest.
    one = rng.integers(0, 256, (height // 2 + 64, width // 2 + 64, 3), np.uint8)
    grain = cv2.addWeighted(one, gain, one, 0, 128 - gain * 128)
    if rng.random() < 0.4:
        grain[:] = grain[..., :1]
    if rng.random() < 0.4:
        grain = cv2.GaussianBlur(grain, (3, 3), 0.7)
    tiles = np.tile(grain, (2, 2, 1))
    top, left = int(rng.integers(128)), int(rng.integers(128))
    return np.asarray(
        cv2.addWeighted(picture, 1, tiles[top : top + height, left : left + width], 1, -128),
        np.uint8,
    )


def _hazy(picture: Image, rng: np.random.Generator) -> Image:
    share = float(rng.uniform(0.05, 0.4))
    veil = np.full_like(picture, int(rng.uniform(150, 245)))
    return np.asarray(cv2.addWeighted(picture, 1 - share, veil, share, 0), np.uint8)


def _coded(picture: Image, quality: int) -> Image:
    _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)


def _smeared(picture: Image, rng: np.random.Generator) -> Image:
    """Return the effect of H.264 at a low rate on low contrast.

    Texture is lost, edges stay, and blocks are coarse.
    """
    smooth = cv2.bilateralFilter(picture, 5, float(rng.uniform(15, 45)), 3)
    return _coded(np.asarray(smooth, np.uint8), int(rng.integers(25, 60)))


def degrade(picture: Image, rng: np.random.Generator) -> Image:
    """Return a copy of (h, w, 3) uint8 as a camera would record it.

    Half of the copies are of good cameras in good light, half have haze, blur and noise. Exposure,
    colours and contrast vary in all. Some are greyscale, equalised, sharpened or damaged by codecs.
    """
    good = bool(rng.random() < 0.5)
    work = np.asarray(
        cv2.LUT(
            picture,
            tones(rng, float(cv2.mean(picture[picture.shape[0] * 2 // 5 :])[1]) / 255, good),
        ),
        np.uint8,
    )
    if rng.random() < 0.06:
        return _coded(equalised(work, rng), int(rng.integers(60, 96)))
    work = _colour(work, rng, good)
    if not good:
        if rng.random() < 0.25:
            work = _hazy(work, rng)
        work = _blurred(work, rng)
        if rng.random() < 0.6:
            work = _noisy(work, rng)
    if rng.random() < 0.35:
        work = _sharpened(work, rng, 1.5)
    damage = rng.random()
    if damage < (0.05 if good else 0.2):
        work = _smeared(work, rng)
    elif damage < 0.65:
        work = _coded(work, int(rng.integers(60 if good else 28, 96)))
    return np.array(work, np.uint8)
