"""What the chapters need beside the model: checks, figures, controls, recorded runs, a look at the source."""
