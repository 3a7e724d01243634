"""One click tree for every face: commands take words, act through the façade, return values and print nothing."""
