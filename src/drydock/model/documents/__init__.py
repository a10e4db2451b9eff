"""The documents that drydock publishes: each is declared once, as msgspec structs, and its JSON Schema follows.

Only what writes or reads a document imports its module, because msgspec takes time to load.
"""
