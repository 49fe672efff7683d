"""How the turns of a model are read and how the answers of the environment are written."""
