"""The words for what runs a detector; apart, so that a command line need not load NumPy to say them."""

from __future__ import annotations

from typing import Literal, get_args

Device = Literal["auto", "cuda", "openvino", "torch"]
DEVICES: tuple[Device, ...] = get_args(Device)
