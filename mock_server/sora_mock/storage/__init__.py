"""Where the facts of accounts live."""
