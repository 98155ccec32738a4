"""How fast vaetune is, measured against what people use instead: `python -m benchmarks`, or `make bench`."""
