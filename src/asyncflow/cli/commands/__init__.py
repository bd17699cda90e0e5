"""One module for each group of commands; see ``cli.app``."""
