"""DataFrames and the typed arrays they are made of."""
