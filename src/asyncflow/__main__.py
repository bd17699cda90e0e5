"""``python -m asyncflow``."""

from asyncflow.cli import program

if __name__ == "__main__":
    program()
