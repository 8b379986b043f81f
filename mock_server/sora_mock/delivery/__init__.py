"""The active part: attempts made at their moments. Nothing of it is imported before the first callback."""
