"""Learning from events as they come: read, score, learn, watch, publish; every event counts once."""

__all__ = []
