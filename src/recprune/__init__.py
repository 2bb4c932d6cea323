"""Prune recommender systems, prove that nothing was lost, and serve the result."""
