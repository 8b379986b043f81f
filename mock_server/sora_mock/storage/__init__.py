"""Where the facts of accounts live. Only `service/` and this package write them."""
