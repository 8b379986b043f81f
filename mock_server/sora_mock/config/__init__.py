"""Settings of a server: declared once, read from flags, variables, a file or keyword arguments."""
