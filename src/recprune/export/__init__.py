"""Models in other programs' forms: ONNX."""

from recprune.export.model import Exported, export_onnx

__all__ = ["Exported", "export_onnx"]
