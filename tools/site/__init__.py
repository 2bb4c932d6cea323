"""The site of the documentation: generated pages, docstrings, links."""
