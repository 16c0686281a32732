"""The paper's numbers, claims and networks."""
