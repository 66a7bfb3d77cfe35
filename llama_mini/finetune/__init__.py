"""Fine-tuning: small changes to a pretrained model."""
