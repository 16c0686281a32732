"""senas-bench: weight-sharing supernets, shrunk and expanded (SE-NAS), measured on NAS benchmarks."""

__version__ = "0.1.0"
