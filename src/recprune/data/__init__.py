"""Tables in: read, checked, split without leaks, and encoded."""

from recprune.data.dataset import Dataset, Split
from recprune.data.ingest import ingest, ingest_sql
from recprune.data.negatives import Negatives
from recprune.data.quality import Finding
from recprune.data.spec import Spec, read_spec

__all__ = [
    "Dataset",
    "Finding",
    "Negatives",
    "Spec",
    "Split",
    "ingest",
    "ingest_sql",
    "read_spec",
]
