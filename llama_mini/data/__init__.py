"""What the models learn from: the story world, and text files."""
