"""The edge to the machine: clock, randomness, package data, log, and uvicorn's protocol."""
