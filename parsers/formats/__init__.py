"""One module per format: its docstring, its tables and FORMAT; found by name."""
