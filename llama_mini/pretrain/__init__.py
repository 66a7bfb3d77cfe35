"""Pretraining: the loss that makes a language model."""
