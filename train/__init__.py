"""Training, evaluation and everything else that makes the weights in `weights/`."""
