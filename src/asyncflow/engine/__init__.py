"""The engine: a pure scheduler that decides, and a thin asyncio shell that carries out."""
