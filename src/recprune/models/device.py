"""Where training computes, and in how many bits."""

from __future__ import annotations

from typing import Literal

import torch

from recprune.errors import ParameterError

__all__ = ["Device", "Precision", "check_device", "check_precision", "device_of", "uses_bf16"]

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]


def device_of(device: str) -> torch.device:
    """Return the device that a name stands for: ``"auto"`` is CUDA where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Tell whether hidden layers multiply in bfloat16.

    ``"auto"`` is so where the processor has instructions for it: elsewhere it is emulated, and many
    times slower.
    """
    if precision == "auto":
        return _native(device)
    return precision == "bf16"


def check_device(device: object) -> None:
    """Refuse what is no device of training, or one that is not there.

    Raises:
        ParameterError: another name, or ``"cuda"`` without one.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ParameterError.of("device", "Training", "'auto', 'cpu' or 'cuda'", device)
    if device == "cuda" and not torch.cuda.is_available():
        there = "'auto' or 'cpu' on a machine where torch finds no CUDA device"
        raise ParameterError.of("device", "Training", there, device)


def check_precision(precision: object) -> None:
    """Refuse what is no precision of training.

    Raises:
        ParameterError: another name.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise ParameterError.of("precision", "Training", "'auto', 'fp32' or 'bf16'", precision)


def _native(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # No public name covers all versions of torch from 2.4 on; without these it is fp32.
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)
