"""Whether two scalar expressions have one value: exact, canonical, numeric."""
