"""The control API under `/__mock`: a module for each resource. Routes are in `app.py`."""
