"""Where the model families keep their parts: a family, a file. `anatomy` shows one model by its family's table."""
