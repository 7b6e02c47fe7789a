"""Tell a child which functions its stages are, as ``package.module:attribute``: names of variables in its environment."""

READ_VARIABLE = "_DOCTRAIN_READ"
CHUNK_VARIABLE = "_DOCTRAIN_CHUNK"
EMBED_VARIABLE = "_DOCTRAIN_EMBED"
