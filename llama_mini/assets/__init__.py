"""The bundled tokenizer and models, and their recipes: `python -m llama_mini.assets` makes them again."""
