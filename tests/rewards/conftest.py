"""Data that is shared between checkouts and not part of this repository."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The nearest `shared/data` above this checkout."""
    places = [parent / "shared" / "data" for parent in Path(__file__).parents]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        pytest.skip("no shared/data above this checkout")
    return found
