"""What filters look for: hand-made ones on toy images and photographs, the weights of a network, and what they answer."""
