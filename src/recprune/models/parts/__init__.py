"""Parts of networks: each adds a term to the logit, and declares its tensors and axes."""

from recprune.models.parts.base import Inputs, Part, Shape
from recprune.models.parts.cross import CrossPart, StackPart
from recprune.models.parts.dot import DotPart
from recprune.models.parts.final import FinalPart
from recprune.models.parts.fm import FMPart, PairsPart
from recprune.models.parts.mlp import MLPPart
from recprune.models.parts.shared import SharedPart
from recprune.models.parts.towers import TowersPart

__all__ = [
    "PARTS",
    "CrossPart",
    "DotPart",
    "FMPart",
    "FinalPart",
    "Inputs",
    "MLPPart",
    "PairsPart",
    "Part",
    "Shape",
    "SharedPart",
    "StackPart",
    "TowersPart",
]

#: Name in an artefact → part.
PARTS: dict[str, type[Part]] = {
    "cross": CrossPart,
    "dot": DotPart,
    "final": FinalPart,
    "fm": FMPart,
    "mlp": MLPPart,
    "pairs": PairsPart,
    "shared": SharedPart,
    "stack": StackPart,
    "towers": TowersPart,
}
