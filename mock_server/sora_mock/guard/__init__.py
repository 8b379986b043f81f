"""The spending guard: a proxy in front of the live service that caps what is spent."""
