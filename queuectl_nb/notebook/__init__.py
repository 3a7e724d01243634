"""The notebook interface: the command tree as IPython magics, with results that display themselves."""
