"""How things look as data: JSON shapes and DataFrames. Reads the store, decides nothing, prints nothing."""
