"""Selection of columns as a scikit-learn transformer."""

from recprune.selector.feature_selector import FeatureSelector

__all__ = ["FeatureSelector"]
