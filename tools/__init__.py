"""What makes pages of the documentation; no part of the package."""
