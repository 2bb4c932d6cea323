"""Retrievers: what to show a user out of the whole catalogue."""

from recprune.models.retrieval.als import ALS
from recprune.models.retrieval.mf import MF
from recprune.models.retrieval.retriever import Retriever
from recprune.models.retrieval.two_tower import TwoTower

__all__ = ["ALS", "MF", "Retriever", "TwoTower"]
