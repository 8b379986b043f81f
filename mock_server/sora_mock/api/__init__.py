"""The emulated service over HTTP: a module for each resource. Routes are in `app.py`."""
