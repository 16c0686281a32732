"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real images and benchmark tables of the development data."""
    folder = Path(os.environ.get("SENAS_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"development data not found at {folder}; set SENAS_SHARED")
    return folder
