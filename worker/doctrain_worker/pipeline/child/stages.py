"""Tell a child what it runs: names of variables in its environment.

The stages are functions, as ``package.module:attribute``; the model is a ``doctrain_mesh.embedding.choice.Choice`` as text.
"""

READ_VARIABLE = "_DOCTRAIN_READ"
CHUNK_VARIABLE = "_DOCTRAIN_CHUNK"
MODEL_VARIABLE = "_DOCTRAIN_MODEL"
