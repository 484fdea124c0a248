"""Learning without labels: views, encoders, losses, the model, pre-training, embedding (Bai et al. 2023).

Its modules are imported directly, so that a command that does not learn does not load PyTorch.
"""
