"""The composition root: the only importer of adapters.

`footing` is what is needed before there is a database to speak to, and quick to import; `container` is all the rest.
"""
