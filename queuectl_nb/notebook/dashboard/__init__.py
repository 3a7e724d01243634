"""The live dashboard widget."""
